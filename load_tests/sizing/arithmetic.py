"""The arithmetic from measured figures to machines, bytes and costs. Pure.

Rule: exact search only, because its time and memory are in proportion to the vectors; approximate indexes were measured
up to a million vectors, and what they would need is an estimate on the side.
"""

import math
from dataclasses import dataclass, replace

from load_tests.sizing import measured
from load_tests.sizing.assumed import Assumed

IN_WORKERS, IN_TIER = "in each worker", "search tier"
FLOAT16, GB, MIB = 2, 1e9, 2**20
MANY_GPUS = 1000
LINK_GBIT_S = 100.0
"""The most that one machine in front of the servers passes on: a fast network interface."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalog of `products`: what it takes, wherever it is."""

    products: float
    vectors: float
    gpu_bytes: float
    """Of one copy of the vectors, as float16, with the room that adding them leaves."""
    host_bytes: float
    """Texts, columns and links in the memory of the machine that ranks."""
    disk_bytes: float
    columns_s: float
    """Core seconds at each opening, for the columns of filters alone."""
    embedding_gpu_hours: float
    """Hours of one GPU to embed every image once."""
    decoding_core_hours: float
    """Core hours to decode every image once."""
    rabitq_bytes: float
    """Estimate: memory of `ivf-rabitq` on CPUs."""
    rabitq_core_ms: float
    """Estimate: core time of a query in it, growing with the square root of the vectors."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A way to serve a catalog at `photos_per_s`."""

    products: float
    photos_per_s: float
    place: str
    machines: int
    """Machines that serve, each with one GPU, the spare included."""
    machine_photos_per_s: float
    """The most that one of them does."""
    shards: int
    copies: int
    """The GPUs of the search tier are `shards x copies`; 0 of both where the workers hold the catalog."""
    search_ms: float
    gpu_busy: float
    """Share of a serving GPU's time that is used at the planned load."""
    core_ms: float
    """Core time of a photo on the serving machines, as planned for: what idles counts."""
    gbit_per_s: float
    """Photos that arrive, all together."""
    usd_per_1000: float
    breaks: str
    """The resource that is short first when the load or the catalog grows."""

    @property
    def gpus(self) -> int:
        """All GPUs."""
        return self.machines + self.shards * self.copies

    @property
    def gpu_ms(self) -> float:
        """GPU time of a photo as planned for, in the whole deployment: what idles counts."""
        return self.gpus / self.photos_per_s * 1e3


def catalog(products: float, assumed: Assumed) -> Catalog:
    """The sizes of a catalog of `products`."""
    images = products * measured.IMAGES.value / measured.PRODUCTS.value
    in_memory = (measured.SERVED_100K_MB.value - measured.SERVED_10K_MB.value) * 1e6 / 90_000
    a_vector = 256 * 4  # float32 on the CPU; on a GPU the vectors are there instead
    rabitq = measured.RABITQ_MB.value * 1e6 / 100_000
    return Catalog(
        products=products,
        vectors=images,
        gpu_bytes=images * assumed.dimension * FLOAT16 * measured.GROWTH.value,
        host_bytes=products * (in_memory - a_vector),
        disk_bytes=images * measured.DISK_100K_MB.value * 1e6 / 100_000 * assumed.dimension / 256,
        columns_s=products * measured.COLUMNS_US.value / 1e6,
        embedding_gpu_hours=images * measured.EMBED_64_MS.value / 64 / 1e3 / 3600,
        decoding_core_hours=images * measured.DECODE_MS.value / 1e3 / 3600,
        rabitq_bytes=images * rabitq * assumed.dimension / 256,
        rabitq_core_ms=measured.RABITQ_MS.value * math.sqrt(images / 100_000),
    )


def exact_ms(figure: measured.Figure, vectors: float, assumed: Assumed) -> float:
    """The time of a measured exact search over another number of vectors and dimension."""
    return figure.value * vectors / measured.SEARCHED_VECTORS.value * assumed.dimension / 256


def plan(products: float, photos_per_s: float, assumed: Assumed) -> Plan:
    """The plan with the fewest GPUs."""
    sizes = catalog(products, assumed)
    possible = [in_tier(sizes, photos_per_s, assumed)]
    if fits_in_workers(sizes, assumed):
        possible.append(in_workers(sizes, photos_per_s, assumed))
    # Of two plans with as many GPUs the one without a tier is simpler.
    return min(possible, key=lambda each: (each.gpus, each.shards))


def fits_in_workers(sizes: Catalog, assumed: Assumed) -> bool:
    """True if eight workers hold a copy each on their GPU, and the machine the products' texts once."""
    gpu = measured.GPU_GB_8_WORKERS.value * GB + 8 * sizes.gpu_bytes
    return (
        gpu <= assumed.memory * measured.GPU_MIB.value * MIB
        and sizes.host_bytes <= assumed.memory * measured.RAM_GB.value * GB
    )


def in_workers(sizes: Catalog, photos_per_s: float, assumed: Assumed) -> Plan:
    """Every machine holds the whole catalog, every worker a copy on the GPU.

    The queries of a photo are searched together, but not those of several photos: a worker has few at a time.
    """
    search_s = exact_ms(measured.SEARCH_4_MS, sizes.vectors, assumed) * measured.OBJECTS.value / 4 / 1e3
    gpu_s = 1 / measured.PHOTOS_MODELS.value + search_s
    most = min(measured.PHOTOS_8_WORKERS.value, 1 / gpu_s)
    machines = math.ceil(photos_per_s / (assumed.load * most)) + assumed.spare
    by_cpu = most == measured.PHOTOS_8_WORKERS.value
    return finished(
        Plan(
            products=sizes.products,
            photos_per_s=photos_per_s,
            place=IN_WORKERS,
            machines=machines,
            machine_photos_per_s=most,
            shards=0,
            copies=0,
            search_ms=exact_ms(measured.SEARCH_4_MS, sizes.vectors, assumed),
            gpu_busy=assumed.load * most * gpu_s,
            core_ms=measured.CORES.value / (assumed.load * most) * 1e3,
            gbit_per_s=gbit(photos_per_s),
            usd_per_1000=0.0,
            breaks="the server's CPU work" if by_cpu else "exact search on the serving GPUs",
        ),
        assumed,
    )


def in_tier(sizes: Catalog, photos_per_s: float, assumed: Assumed) -> Plan:
    """Serving machines without vectors, and GPUs that search: each holds a shard, each query asks all shards."""
    by_memory = sizes.gpu_bytes / (assumed.memory * measured.GPU_MIB.value * MIB)
    by_time = exact_ms(measured.SEARCH_64_MS, sizes.vectors, assumed) / assumed.search_ms
    shards = max(1, math.ceil(by_memory), math.ceil(by_time))
    search_ms = exact_ms(measured.SEARCH_64_MS, sizes.vectors / shards, assumed)
    photos_of_copy = 64 / (search_ms / 1e3) / measured.OBJECTS.value
    copies = math.ceil(photos_per_s / (assumed.load * photos_of_copy)) + assumed.spare
    most = measured.PHOTOS_8_WORKERS.value
    machines = math.ceil(photos_per_s / (assumed.load * most)) + assumed.spare
    return finished(
        Plan(
            products=sizes.products,
            photos_per_s=photos_per_s,
            place=IN_TIER,
            machines=machines,
            machine_photos_per_s=most,
            shards=shards,
            copies=copies,
            search_ms=search_ms,
            gpu_busy=assumed.load * most / measured.PHOTOS_MODELS.value,
            core_ms=measured.CORES.value / (assumed.load * most) * 1e3,
            gbit_per_s=gbit(photos_per_s),
            usd_per_1000=0.0,
            breaks="exact search" if shards * copies > machines else "the server's CPU work",
        ),
        assumed,
    )


def finished(unpriced: Plan, assumed: Assumed) -> Plan:
    """The plan with its cost, and what else is short."""
    usd_per_s = unpriced.gpus * assumed.machine_usd_per_hour / 3600
    breaks = unpriced.breaks
    if unpriced.gbit_per_s > LINK_GBIT_S:
        breaks += "; one balancer's network"
    if unpriced.shards * unpriced.copies > MANY_GPUS:
        breaks += "; needs an approximate index"
    return replace(unpriced, usd_per_1000=usd_per_s / unpriced.photos_per_s * 1000, breaks=breaks)


def gbit(photos_per_s: float) -> float:
    """Gbit/s of photos."""
    return photos_per_s * measured.PHOTO_KB.value * 8 / 1e6


def most_products_in_workers(assumed: Assumed) -> dict[str, float]:
    """The products up to which each resource of a serving machine suffices, by the name of the resource."""
    one = catalog(1.0, assumed)
    gpu_left = assumed.memory * measured.GPU_MIB.value * MIB - measured.GPU_GB_8_WORKERS.value * GB
    alone = assumed.memory * measured.GPU_MIB.value * MIB - measured.GPU_GB_1_PROCESS.value * GB
    search_s = 1 / measured.PHOTOS_8_WORKERS.value - 1 / measured.PHOTOS_MODELS.value
    a_product_s = exact_ms(measured.SEARCH_4_MS, one.vectors, assumed) * measured.OBJECTS.value / 4 / 1e3
    return {
        "GPU time, at 8 workers' full rate": search_s / a_product_s,
        "GPU memory, 8 workers with a copy each": gpu_left / 8 / one.gpu_bytes,
        "the machine's memory, for the products' texts": assumed.memory * measured.RAM_GB.value * GB / one.host_bytes,
        "GPU memory, one process": alone / one.gpu_bytes,
    }
