"""The measured figures that the sizing starts from, each with the document that records it.

Rule: a figure is quoted from the record as it is written there, and a test finds the quote; nothing here is a guess.
What was not measured is in `assumed.py`.
"""

from dataclasses import dataclass

LAB = "docs/record/lab/benchmarks-2026-11.md"
SECOND_LEASE = f"{LAB}#gpu-second-lease"
INDEX = "docs/operate/index.md#how-figures-grow"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured `value` in `unit`; `source` is a file of this repository with a heading, `quote` a part of a line."""

    name: str
    value: float
    unit: str
    source: str
    quote: str


PHOTOS_8_WORKERS = Figure(
    "one H200 machine with 16 cores, 8 workers", 194.2, "photos/s", SECOND_LEASE, "| | 64 | 194.2 | 283 | 427 |"
)
PHOTOS_4_WORKERS = Figure("the same, 4 workers", 133.7, "photos/s", SECOND_LEASE, "| | 48 | 133.7 | 364 | 524 |")
PHOTOS_1_PROCESS = Figure("the same, 1 process", 45.3, "photos/s", SECOND_LEASE, "| | 48 | 45.3 | 1,051 | 1,470 |")
PHOTOS_MODELS = Figure(
    "the models of a photo alone, on the H200", 835, "photos/s", SECOND_LEASE, "The models alone give 835 photos/s"
)
PHOTOS_CPU = Figure(
    "one machine with 2 cores and no GPU",
    10.6,
    "photos/s",
    "docs/record/benchmarks.md#010",
    "limit, served | 11.6, 10.6",
)
OBJECTS = Figure("objects of a photo, each one a query", 4.5, "", SECOND_LEASE, "4.5 objects a photo")
PHOTO_KB = Figure(
    "a photo", 170, "kB", "docs/record/lab/performance.md#what-the-server-adds", "3.3 objects, 170 kB JPEG"
)
CORES = Figure("cores of the H200 machine", 16, "", SECOND_LEASE, "16 virtual cores (Xeon), 126 GB")
RAM_GB = Figure("its memory", 126, "GB", SECOND_LEASE, "16 virtual cores (Xeon), 126 GB")
GPU_MIB = Figure("memory of the H200", 143_771, "MiB", SECOND_LEASE, "H200** (143,771 MiB")
GPU_GB_8_WORKERS = Figure(
    "of it, used by 8 workers with a small catalog", 17.4, "GB", SECOND_LEASE, "| 70 / 1,257 | 17.4 GB |"
)
GPU_GB_1_PROCESS = Figure("of it, used by 1 process", 10.6, "GB", SECOND_LEASE, "| 27 / 383 | 10.6 GB |")

_SEARCH = (
    "| 10,000,000 x 256 | 0.9984 | 1.49 / 1.82 | 1.89 / 2.05 | 2.86 / 2.97 | 4.72 / 5.58 | 12.90 / 13.22 | 19,847 |"
)
GROWTH = Figure(
    "memory of vectors that are added in parts, of their size, at most",
    1.5,
    "",
    f"{LAB}#gpu",
    "up to 1.5 times its size",
)
SEARCHED_VECTORS = Figure("vectors of the exact search below", 10_000_000, "", SECOND_LEASE, _SEARCH)
SEARCH_1_MS = Figure("exact search with cuVS, float16, 1 query", 1.49, "ms", SECOND_LEASE, _SEARCH)
SEARCH_4_MS = Figure("the same, 4 queries", 1.89, "ms", SECOND_LEASE, _SEARCH)
SEARCH_64_MS = Figure("the same, 64 queries", 4.72, "ms", SECOND_LEASE, _SEARCH)

EMBED_64_MS = Figure("64 images in the embedder", 14.2, "ms", SECOND_LEASE, "embedder 1.42, 2.43, 14.2")
DECODE_MS = Figure("decoding an image", 16.6, "ms of a core", SECOND_LEASE, "decode 16.6")
IMAGES = Figure("images of the showroom", 91, "", f"{LAB}#gpu", "76 products with 91 images")
PRODUCTS = Figure("products of the showroom", 76, "", f"{LAB}#gpu", "76 products with 91 images")
SERVED_100K_MB = Figure(
    "a server after its start, 100,000 x 256", 427, "MB", INDEX, "| 100,000 x 256 | exact | 17 s | 427 MB | 54 MB |"
)
SERVED_10K_MB = Figure("the same, 10,000 x 256", 222, "MB", INDEX, "| 10,000 x 256 | exact | 3 s | 222 MB | 5 MB |")
DISK_100K_MB = Figure(
    "on the disk, 100,000 x 256", 54, "MB", INDEX, "| 100,000 x 256 | exact | 17 s | 427 MB | 54 MB |"
)
COLUMNS_US = Figure(
    "columns for filters, at each opening",
    11,
    "us of a core a product",
    "docs/guide/filters.md#plans",
    "11 us of CPU for a product",
)
RABITQ_MB = Figure(
    "`ivf-rabitq`, 100,000 x 256, with the vectors that rank",
    56.2,
    "MB",
    "docs/operate/index.md#choosing-an-index",
    "0.998     0.43     0.56     56.2",
)
RABITQ_MS = Figure(
    "the same, 1 query on a CPU",
    0.43,
    "ms",
    "docs/operate/index.md#choosing-an-index",
    "0.998     0.43     0.56     56.2",
)

FIGURES = tuple(value for value in list(globals().values()) if isinstance(value, Figure))
"""All of them, in the order of this file."""
