"""The photos of a shop that an adapter is fitted from: a folder, or a table that names their products.

Rule: a table is read whole or refused with one message that names the row. Photos lie next to it, by relative paths.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline_server.domain.geometry import Box
from sightline_server.errors import ErrorKind, SightlineError

MAX_BYTES = 64 * 1024 * 1024
MOST_PHOTOS = 2000
"""Photos that are taken from a folder; more do not make a better adapter."""
NEEDED = ("image", "product_id")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jfif"}
)
NAMED = 5


@dataclass(frozen=True, slots=True)
class ShopPhoto:
    """A photo, the row of the product that it shows, and where; without a `box` all of it, or what is detected."""

    path: Path
    product: int | None = None
    box: Box | None = None


def photos_in(folder: Path) -> list[ShopPhoto]:
    """The photos in `folder` and below it, at most `MOST_PHOTOS` of them, spread evenly.

    Raises `SightlineError` of kind CONFIGURATION where there is no such folder or no photo in it.
    """
    if not folder.is_dir():
        raise wrong(f"there is no folder {folder}; --photos names a folder of photos")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and is_shown(path, folder))
    if not found:
        raise wrong(f"there are no photos in {folder}; their names end in one of {', '.join(sorted(SUFFIXES))}")
    places = np.unique(np.linspace(0, len(found) - 1, min(len(found), MOST_PHOTOS), dtype=np.int64))
    return [ShopPhoto(found[place]) for place in places]


def is_shown(path: Path, folder: Path) -> bool:
    """Returns whether neither a file nor a folder on the way to it is hidden."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file()


def labelled_photos(table: Path, rows: Mapping[str, int]) -> list[ShopPhoto]:
    """The photos of the CSV file `table` with columns image, product_id and optionally box (x0,y0,x1,y1 in 0..1).

    `rows` are the products of the catalog by their ids. Raises `SightlineError` of kind CONFIGURATION.
    """
    found, unknown = [], []
    for line, row in rows_of(table):
        image, product = (row.get("image") or "").strip(), (row.get("product_id") or "").strip()
        if not image or not product or "\0" in image:
            raise wrong(f"{table} line {line}: image and product_id must be filled")
        box = box_of(table, (row.get("box") or "").strip(), line)
        if product not in rows:
            unknown.append(product)
            continue
        found.append(ShopPhoto(table.parent / image, rows[product], box))
    if unknown:
        distinct = list(dict.fromkeys(unknown))
        more = f" and {len(distinct) - NAMED} more" if len(distinct) > NAMED else ""
        raise wrong(
            f"{table}: {len(distinct)} product ids are not in the catalog: {', '.join(distinct[:NAMED])}{more}; "
            "correct them, or remove their rows"
        )
    missing = [str(each.path) for each in found if not is_there(each.path)]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise wrong(f"{len(missing)} images of {table} are missing: {', '.join(missing[:NAMED])}{more}")
    if not found:
        raise wrong(f"{table} has no rows")
    return found


def is_there(path: Path) -> bool:
    """Returns whether there is a file, also for a name that none can have because it is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def rows_of(table: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The rows of a CSV file with the numbers of their lines. Raises `SightlineError` of kind CONFIGURATION."""
    if not table.is_file():
        raise wrong(f"there is no file {table}; --labels names a CSV file with the columns image and product_id")
    with table.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise wrong(f"{table} has more than {MAX_BYTES >> 20} MiB, too much for a table of labels")
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
        if missing := [name for name in NEEDED if name not in rows.fieldnames]:
            raise wrong(f"{table} has no column {', '.join(missing)} in its first line")
        for row in rows:
            yield rows.line_num, row
    except UnicodeDecodeError as error:
        raise wrong(f"{table} is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise wrong(f"{table} is not a CSV file: {error}") from error


def box_of(table: Path, text: str, line: int) -> Box | None:
    """The box of a row; None where it is empty. Raises `SightlineError` of kind CONFIGURATION."""
    if not text:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
        if len(numbers) == 4 and all(map(math.isfinite, numbers)):
            return Box(*numbers)
    except ValueError:
        pass
    raise wrong(f"{table} line {line}: box {text[:60]!r} is not x0,y0,x1,y1 with numbers from 0 to 1")


def wrong(message: str) -> SightlineError:
    """The error of photos or labels that cannot be used."""
    return SightlineError(ErrorKind.CONFIGURATION, message)
