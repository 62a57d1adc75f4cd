"""The tables of `docs/design/scale.md`, in Markdown."""

import math
from collections.abc import Iterable, Sequence

from load_tests.sizing import measured
from load_tests.sizing.arithmetic import GB, Catalog, Plan, catalog, most_products_in_workers, plan
from load_tests.sizing.assumed import Assumed

PRODUCTS = (1e7, 1e8, 1e9)
PHOTOS_PER_S = (1e2, 1e3, 1e4, 1e5)


def all_tables(assumed: Assumed, products: Sequence[float] = PRODUCTS, rates: Sequence[float] = PHOTOS_PER_S) -> str:
    """Every table with its heading, as the page has them."""
    plans = [plan(each, rate, assumed) for each in products for rate in rates]
    sections = (
        ("Machines", machines(plans)),
        ("Catalogs", catalogs([catalog(each, assumed) for each in products])),
        ("Where one machine ends", limits(assumed)),
        ("Without a GPU", without_gpu(rates, assumed)),
        ("Assumptions", assumptions(assumed)),
        ("Measured figures", figures()),
    )
    return "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections)


def machines(plans: Iterable[Plan]) -> str:
    """One row a plan."""
    return table(
        "products | photos/s | the vectors are | serving machines | search GPUs: shards x copies | GPUs in all "
        "| ms of a search | serving GPU busy | GPU ms of a photo | core ms of a photo | Gbit/s of photos "
        "| USD for 1,000 photos | what is short first",
        (
            (
                power(each.products),
                power(each.photos_per_s),
                each.place,
                f"{each.machines:,}",
                f"{each.shards} x {each.copies} = {each.shards * each.copies:,}" if each.shards else "",
                f"{each.gpus:,}",
                f"{each.search_ms:.1f}",
                f"{each.gpu_busy:.0%}",
                f"{each.gpu_ms:.1f}",
                f"{each.core_ms:.0f}",
                f"{each.gbit_per_s:.2g}" if each.gbit_per_s < 10 else f"{each.gbit_per_s:.0f}",
                f"{each.usd_per_1000:.4f}",
                each.breaks,
            )
            for each in plans
        ),
    )


def catalogs(sizes: Iterable[Catalog]) -> str:
    """One row a catalog."""
    return table(
        "products | vectors | GB of one copy on a GPU | GB of texts and columns in memory | GB on the disk "
        "| s of a core at each opening, for columns | GPU hours to embed all images | core hours to decode them "
        "| GB of `ivf-rabitq` (estimate) | core ms of its query (estimate)",
        (
            (
                power(each.products),
                f"{each.vectors:,.0f}",
                f"{each.gpu_bytes / GB:,.1f}",
                f"{each.host_bytes / GB:,.0f}",
                f"{each.disk_bytes / GB:,.0f}",
                f"{each.columns_s:,.0f}",
                f"{each.embedding_gpu_hours:.1f}",
                f"{each.decoding_core_hours:,.0f}",
                f"{each.rabitq_bytes / GB:,.0f}",
                f"{each.rabitq_core_ms:.1f}",
            )
            for each in sizes
        ),
    )


def limits(assumed: Assumed) -> str:
    """The products that each resource of one H200 machine suffices for."""
    rows = sorted(most_products_in_workers(assumed).items(), key=lambda each: each[1])
    cores = measured.CORES.value * measured.PHOTOS_MODELS.value / measured.PHOTOS_8_WORKERS.value
    return (
        table(
            "resource of one H200 machine | suffices for products",
            ((name, f"{most / 1e6:.1f} million") for name, most in rows),
        )
        + f"\n\nThe models of one GPU would keep {cores:.0f} cores of the server busy; the machine has "
        f"{measured.CORES.value:.0f}."
    )


def without_gpu(rates: Sequence[float], assumed: Assumed) -> str:
    """Machines of two cores for the same rates, with a catalog that is small enough for them."""
    usable = assumed.load * measured.PHOTOS_CPU.value
    return table(
        "photos/s | machines with 2 cores, 100,000 products or fewer | core ms of a photo",
        ((power(rate), f"{math.ceil(rate / usable) + assumed.spare:,}", f"{2 / usable * 1e3:.0f}") for rate in rates),
    )


def assumptions(assumed: Assumed) -> str:
    """The values that were not measured."""
    rows = (
        ("numbers of an embedding", str(assumed.dimension), "`--dimension`"),
        ("share of its most that a machine is given", f"{assumed.load:g}", "`--load`"),
        ("spare machines, and spare copies of a search tier", str(assumed.spare), "`--spare`"),
        ("share of a GPU's memory that is planned for", f"{assumed.memory:g}", "`--memory`"),
        ("ms of a search of 64 queries in a tier, at most", f"{assumed.search_ms:g}", "`--search-ms`"),
        ("USD of a machine with one GPU for an hour: an example", f"{assumed.machine_usd_per_hour:g}", "`--usd`"),
    )
    return table("assumption | value | option", rows)


def figures() -> str:
    """The measured figures with links to the pages that record them."""
    return table(
        "figure | value | measured",
        ((each.name, f"{number(each.value)} {each.unit}".strip(), link(each.source)) for each in measured.FIGURES),
    )


def link(source: str) -> str:
    """A link from `docs/design/` to a file below `docs/`."""
    path, _, anchor = source.partition("#")
    return f"[{path.rpartition('/')[2]}](../{path.removeprefix('docs/')}#{anchor})"


def number(value: float) -> str:
    """With commas, and with decimals only where it has some."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,}"


def power(value: float) -> str:
    """A power of ten as such, any other number with commas."""
    exponent = math.log10(value)
    return f"10^{exponent:.0f}" if exponent.is_integer() else f"{value:,.0f}"


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; `head` has its names between bars."""
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
