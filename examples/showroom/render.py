"""Render the showroom: its products, its photos and their truth. Needs `bpy`, `numpy`, `pillow`.

See docs/guide/showroom.md.

One rule: a picture that exists is left alone, so a run that was broken off goes on where it stopped; `--force` renders
again. Drafts go to another folder and never replace a picture.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from showroom import compare, feed, lens, studio, truth
from showroom.catalogue import BY_ID, PRODUCTS, Product
from showroom.photos import PHOTOS, Photo

HERE = Path(__file__).resolve().parent
PRODUCT_SAMPLES, PHOTO_SAMPLES, DRAFT_SAMPLES = 10, 6, 8


def main() -> int:
    args = _arguments()
    if args.check:
        return check(args.check)
    folder = Path(tempfile.gettempdir()) / "showroom-draft" if args.draft else HERE
    for name in ("products", "photos"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    wanted = [job for job in jobs() if not args.only or any(fnmatch(job[0], p) for p in args.only)]
    for number, (name, what, second) in enumerate(wanted, start=1):
        started = time.monotonic()
        if render(folder, name, what, second, draft=args.draft, force=args.force):
            print(f"[{number}/{len(wanted)}] {name} {time.monotonic() - started:.0f} s", flush=True)
    truth.prune(folder)
    feed.write(folder, truth.load(folder))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draft", action="store_true", help="few samples, small, into the temporary folder")
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="names of products or photos, such as 'chair-*'")
    parser.add_argument("--force", action="store_true", help="render again what exists")
    parser.add_argument(
        "--check", metavar="PRODUCT", help="render one product again and print its SSIM to the kept one"
    )
    return parser.parse_args()


def jobs() -> list[tuple[str, Product | Photo, bool]]:
    """Every picture: (name, what it shows, whether it is a product's second one).

    A photo follows the products in it, so that a broken-off run leaves whole photos behind.
    """
    first: dict[str, tuple[str, Product | Photo, bool]] = {}
    for photo in PHOTOS:
        for item in photo.items:
            first.setdefault(item.product, (item.product, BY_ID[item.product], False))
        first[photo.name] = (photo.name, photo, False)
    for product in PRODUCTS:
        first.setdefault(product.id, (product.id, product, False))
    return [*first.values(), *((f"{product.id}-b", product, True) for product in PRODUCTS if product.second)]


def render(folder: Path, name: str, what: Product | Photo, second: bool, *, draft: bool, force: bool) -> bool:
    """Render one picture into `folder` unless it is there; True when it was rendered."""
    place = folder / ("products" if isinstance(what, Product) else "photos") / f"{name}.jpg"
    if place.exists() and not force and not draft:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw.png"
        if isinstance(what, Product):
            studio.shoot(what, raw, DRAFT_SAMPLES if draft else PRODUCT_SAMPLES, 192 if draft else studio.SIDE, second)
            lens.print_product(raw, place)
        else:
            from showroom import rooms

            scale = 0.35 if draft else 1.0
            objects = rooms.shoot(what, raw, Path(scratch), DRAFT_SAMPLES if draft else PHOTO_SAMPLES, scale)
            lens.print_photo(raw, place, seed=name, orientation=what.exif)
            truth.keep(folder, what.name, what.size, objects)
    feed.write(folder, truth.load(folder))
    return True


def check(name: str) -> int:
    """Render product `name` again and print its SSIM to the committed picture; 0 when it is 0.98 or more."""
    with tempfile.TemporaryDirectory() as scratch:
        raw, again = Path(scratch) / "raw.png", Path(scratch) / "again.jpg"
        studio.shoot(BY_ID[name], raw, PRODUCT_SAMPLES)
        lens.print_product(raw, again)
        value = compare.ssim(again, HERE / "products" / f"{name}.jpg")
    print(f"{name} ssim {value:.4f}")
    return 0 if value >= 0.98 else 1


if __name__ == "__main__":
    raise SystemExit(main())
