"""The shop's files: feed.csv and the query lists, made from the catalogue and from the pictures that exist.

One rule: a row is written only for a picture that is there, so that feed, truth and queries always agree.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .catalogue import PRODUCTS, Product

COLUMNS = [
    "id",
    "title",
    "description",
    "link",
    "image_link",
    "additional_image_link",
    "availability",
    "price",
    "condition",
    "brand",
    "gtin",
    "product_type",
    "item_group_id",
    "color",
    "material",
]
TYPES = {
    "chair": ("Furniture > Chairs", "A chair that sits as well at the desk as at the table."),
    "sofa": ("Furniture > Sofas", "Deep seats and loose cushions for long evenings."),
    "bed": ("Furniture > Beds", "A bed with its bedding, as pictured."),
    "vase": ("Home > Decor > Vases", "Made for one stem or a full bunch."),
    "mug": ("Home > Tableware > Cups & Mugs", "Fits the hand and the dishwasher."),
    "bowl": ("Home > Tableware > Bowls", "For salad, soup or fruit, and good to look at when empty."),
    "bottle": ("Food & Drink > Bottles", "Sold one by one."),
    "wineglass": ("Home > Tableware > Wine Glasses", "A stemmed glass with a thin rim."),
    "plant": ("Home > Plants > Potted Plants", "Delivered potted and watered."),
    "clock": ("Home > Decor > Clocks", "A quiet movement behind a dial that reads from across the room."),
    "teddy": ("Toys > Stuffed Animals > Teddy Bears", "Soft, washable and ready to be carried everywhere."),
    "laptop": ("Electronics > Laptops", "An all-day laptop with a bright screen."),
    "tv": ("Electronics > Televisions", "A television that is furniture, too."),
    "suitcase": ("Luggage > Suitcases", "Light to carry and hard to dent."),
}


def gtin(number: int) -> str:
    """GTIN-13 number `number` of the prefix that GS1 keeps for use inside a shop; its last digit checks the others."""
    body = f"20{number:010d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(body))
    return body + str(-total % 10)


def row(product: Product, number: int, pictures: Sequence[str]) -> dict[str, str]:
    """The feed's row for `product`, whose pictures are `pictures`, the main one first."""
    kind, sentence = TYPES[product.kind]
    return {
        "id": product.id,
        "title": product.title,
        "description": f"{product.title} by {product.brand}, in {product.material.lower()}. {sentence}",
        "link": f"https://showroom.example/p/{product.id}",
        "image_link": pictures[0],
        "additional_image_link": ",".join(pictures[1:]),
        "availability": "out_of_stock" if number % 17 == 0 else "in_stock",
        "price": f"{product.price / 100:.2f} USD",
        "condition": "new",
        "brand": product.brand,
        "gtin": gtin(number),
        "product_type": kind,
        "item_group_id": product.group,
        "color": product.color,
        "material": product.material,
    }


def write(folder: Path, truth: Sequence[dict[str, Any]]) -> None:
    """Write feed.csv, queries.csv and queries_whole_path.csv into `folder` from what lies there."""
    rows = []
    for number, product in enumerate(PRODUCTS, start=1):
        names = [f"products/{product.id}.jpg", f"products/{product.id}-b.jpg"]
        pictures = [name for name in names if (folder / name).exists()]
        if names[0] in pictures:
            rows.append(row(product, number, pictures))
    sold = {r["id"] for r in rows}
    seen = [(photo["photo"], thing) for photo in truth for thing in photo["objects"] if thing["product_id"] in sold]
    _table(folder / "feed.csv", COLUMNS, ([r[c] for c in COLUMNS] for r in rows))
    boxes = ([name, t["product_id"], ",".join(f"{v:.4f}" for v in t["box"])] for name, t in seen)
    _table(folder / "queries.csv", ("image", "product_id", "box"), boxes)
    _table(folder / "queries_whole_path.csv", ("image", "product_id"), ([name, t["product_id"]] for name, t in seen))


def _table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    partial = path.with_suffix(f".partial-{os.getpid()}")
    with partial.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    partial.replace(path)
