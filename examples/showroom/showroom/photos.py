# ruff: noqa: E501
"""The plans of the photos: which room, which light, which camera, and what stands where.

One rule: a plan is data in metres and degrees. The back wall is y=0, the floor z=0, the camera looks towards +y.
The file is long, and so are its lines, because it is a table: one block a photo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .finish import Finish as F

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Item:
    """A product in a photo: where its foot stands and how it is turned, in degrees about x, y, z."""

    product: str
    at: Point
    turn: Point = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo. `exif` is how the phone was held: 1 level, 3 upside down, 6 and 8 upright (a portrait)."""

    name: str
    at: Point
    target: Point
    items: tuple[Item, ...]
    room: dict[str, Any]
    props: tuple[tuple[str, dict[str, Any]], ...]
    lens: float = 30.0
    fstop: float = 2.8
    focus: Point | None = None
    light: str = "day"
    key: str = "left"
    exposure: float = 0.0
    exif: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture in pixels."""
        return (960, 1280) if self.exif in (6, 8) else (1280, 960)


def _i(
    product: str, x: float, y: float, z: float = 0.0, turn: float = 0.0, roll: float = 0.0, pitch: float = 0.0
) -> Item:
    return Item(product, (x, y, z), (pitch, roll, turn))


def _room(wall: str, floor: F, **options: Any) -> dict[str, Any]:
    return {"wall": F("wall", wall), "floor": floor, **options}


PARQUET, PALE, DARK = F("planks", "#b98a5a"), F("planks", "#d9bd95"), F("planks", "#7a5233")
OAK, WALNUT, WHITE, MARBLE = F("wood", "#c99a62"), F("wood", "#6a4327"), F("paint", "#efece5"), F("ceramic", "#e9e7e3")
LINEN, TILES = F("cloth", "#e4dccb"), F("tiles", "#eef1ee")

# fmt: off
LIVING = (
    Photo("living-01", (0.25, -3.1, 1.2), (0.1, -0.4, 0.72), lens=33, light="day",
        room=_room("#d9cfc0", PARQUET),
        items=(_i("sofa-01", -0.1, -0.58, turn=3), _i("plant-05", 1.2, -0.5), _i("clock-01", 0.62, -0.04, 1.42), _i("teddy-02", 0.45, -0.62, 0.52, 14)),
        props=(("rug", {"size": (2.4, 1.5), "at": (0, -1.5, 0), "finish": F("cloth", "#ffffff", "checks", ("#efe6d6", "#9c8468"), {"count": 8}, 1.4, True)}),
               ("picture", {"size": (0.42, 0.56), "at": (-0.62, 0, 1.62), "motif": "arches", "colors": ("#f3ead9", "#c4694a", "#e3b23c", "#3f6b5c")}),
               ("picture", {"size": (0.3, 0.4), "at": (-0.05, 0, 1.62), "motif": "leaf", "colors": ("#f4f0e6", "#4f6f52")}),
               ("curtain", {"at": (-1.7, -0.12, 0.1), "width": 0.5}))),
    Photo("living-02", (-0.3, -3.3, 1.2), (0.1, -0.4, 0.66), lens=31, light="overcast", exif=3,
        room=_room("#c7d0cb", PALE),
        items=(_i("sofa-04", -0.45, -0.58, turn=-4), _i("chair-04", 1.12, -1.0, turn=-32), _i("plant-04", 0.9, -0.32), _i("vase-06", 0.22, -1.5, 0.4)),
        props=(("rug", {"size": (2.2, 1.4), "at": (0, -1.5, 0), "finish": F("cloth", "#d9c7b0")}),
               ("round_table", {"radius": 0.36, "height": 0.4, "at": (0.1, -1.5, 0), "top": WALNUT}),
               ("books", {"at": (-0.1, -1.5, 0.4), "count": 2}),
               ("flowers", {"at": (0.22, -1.5, 0.68), "height": 0.24, "color": "#f2e3c0"}),
               ("picture", {"size": (0.6, 0.8), "at": (-0.45, 0, 1.65), "motif": "hills", "colors": ("#f2e9da", "#e08f4f", "#8fa58a", "#5d7a6c", "#35544a")}))),
    Photo("living-03", (0.4, -3.35, 1.3), (0.1, -0.5, 0.62), lens=30, light="morning", key="right",
        room=_room("#8fa39b", DARK),
        items=(_i("sofa-03", -0.25, -0.6, turn=2), _i("clock-04", -0.25, -0.04, 1.38), _i("plant-01", 1.32, -0.5, 0.0, 20), _i("suitcase-03", 0.62, -1.35, 0.0, 24)),
        props=(("rug", {"size": (2.6, 1.7), "at": (0, -1.5, 0), "finish": F("cloth", "#ffffff", "zigzag", ("#7a3a2e", "#c9a178", "#4a2a22"), {"count": 8}, 0.8, True)}),
               ("lamp", {"at": (-1.6, -0.45, 0), "height": 1.55, "strength": 7.0}),
               ("picture", {"size": (0.4, 0.53), "at": (0.75, 0, 1.5), "motif": "arches", "colors": ("#f3ead9", "#7a3a2e", "#c9a178", "#3f4f4b")}))),
    Photo("living-04", (0.3, -2.3, 1.05), (0.0, -0.25, 0.86), lens=34, light="day",
        room=_room("#e4d8c8", PALE),
        items=(_i("tv-03", -0.15, -0.32, 0.5, 8), _i("plant-07", 0.62, -0.24, 0.5), _i("vase-04", -0.78, -0.24, 0.5), _i("clock-05", 0.66, -0.04, 1.24)),
        props=(("sideboard", {"size": (1.9, 0.45, 0.5), "at": (0, -0.03, 0), "body": OAK}),
               ("books", {"at": (0.62, -0.4, 0.5), "count": 3, "seed": 4}),
               ("picture", {"size": (0.34, 0.45), "at": (-0.8, 0, 1.5), "motif": "moon", "colors": ("#24324a", "#e9d9a0")}))),
    Photo("living-05", (-0.35, -2.75, 1.05), (0.05, -0.25, 0.82), lens=33, light="evening",
        room=_room("#6d7f8c", PARQUET),
        items=(_i("tv-05", -0.15, -0.25, 0.48, -3), _i("plant-03", 0.82, -0.3, 0.48), _i("vase-02", -0.95, -0.26, 0.48), _i("chair-03", 1.1, -1.05, 0.0, -118)),
        props=(("sideboard", {"size": (2.3, 0.45, 0.48), "at": (0, -0.03, 0), "body": WALNUT, "doors": 4}),
               ("rug", {"size": (2.2, 1.2), "at": (0, -1.4, 0), "finish": F("cloth", "#b9b2a6")}),
               ("lamp", {"at": (-1.45, -0.35, 0), "height": 1.5, "strength": 6.0}))),
    Photo("living-06", (0.4, -3.0, 1.25), (-0.05, -0.4, 0.66), lens=33, light="morning", key="right",
        room=_room("#e9dfd3", PALE),
        items=(_i("sofa-05", -0.35, -0.58, turn=5), _i("chair-02", 0.98, -0.75, turn=-28), _i("teddy-03", -0.72, -0.62, 0.52, -8), _i("vase-01", -0.15, -1.55, 0.4), _i("bowl-02", 0.18, -1.5, 0.4)),
        props=(("round_table", {"radius": 0.42, "height": 0.4, "at": (0.0, -1.55, 0), "top": OAK}),
               ("fruit", {"at": (0.18, -1.5, 0.427), "kind": "orange", "count": 4, "spread": 0.045}),
               ("window", {"at": (0.9, 0, 1.6)}), ("curtain", {"at": (1.65, -0.1, 0.1), "width": 0.4, "color": "#c8b6a0"}),
               ("picture", {"size": (0.5, 0.66), "at": (-0.45, 0, 1.6), "motif": "leaf", "colors": ("#f6f1e6", "#2f5a4a")}))),
)
KITCHEN = (
    Photo("kitchen-01", (0.12, -1.28, 1.3), (0.0, -0.36, 0.98), lens=40, light="morning",
        room=_room("#f0ede6", TILES, side=F("wall", "#dfe5e0")) | {"wall": TILES},
        items=(_i("mug-05", -0.24, -0.56, 0.9, 20), _i("bowl-01", 0.03, -0.36, 0.9), _i("bottle-04", -0.22, -0.25, 0.9, 6), _i("mug-01", 0.27, -0.5, 0.9, -140), _i("plant-06", 0.34, -0.2, 0.9)),
        props=(("counter", {"at": (0, 0, 0)}), ("fruit", {"at": (0.03, -0.36, 0.926), "kind": "orange", "count": 5, "spread": 0.046}),
               ("board", {"at": (-0.5, -0.22, 0.9), "turn": 80, "bread": False}))),
    Photo("kitchen-02", (-0.15, -1.25, 1.22), (0.0, -0.3, 1.0), lens=38, light="overcast", key="right", exif=6,
        room=_room("#eeeeea", TILES) | {"wall": F("tiles", "#9fc2b8")},
        items=(_i("bottle-01", -0.16, -0.26, 0.9, -10), _i("wineglass-01", -0.03, -0.28, 0.9), _i("bowl-04", 0.04, -0.5, 0.9), _i("wineglass-04", 0.22, -0.3, 0.9)),
        props=(("counter", {"at": (0, 0, 0), "top": MARBLE, "front": "#3d5a58"}), ("fruit", {"at": (0.04, -0.5, 0.945), "kind": "lemon", "count": 4, "spread": 0.05}),
               ("shelf", {"size": (0.9, 0.2, 0.03), "at": (0.05, 0, 1.38), "wood": OAK}), ("books", {"at": (-0.2, -0.12, 1.38), "count": 6, "lying": False, "seed": 8}))),
    Photo("breakfast-01", (0.1, -1.88, 1.16), (0.0, -1.2, 0.81), lens=36, light="morning",
        room=_room("#f1e6d2", PALE),
        items=(_i("mug-03", -0.2, -1.3, 0.75, 30), _i("bowl-02", 0.05, -1.22, 0.75), _i("bottle-03", 0.24, -1.1, 0.75, -8), _i("vase-03", -0.14, -1.0, 0.75), _i("mug-02", 0.27, -1.36, 0.75, -35)),
        props=(("table", {"size": (1.5, 0.85, 0.75), "at": (0, -1.1, 0), "top": OAK}), ("fruit", {"at": (0.05, -1.22, 0.776), "kind": "apple", "count": 4, "spread": 0.045}),
               ("flowers", {"at": (-0.14, -1.0, 0.975), "height": 0.22, "color": "#e2607a", "count": 9}), ("window", {"at": (-0.5, 0, 1.5)}),
               ("paper", {"at": (0.05, -1.28, 0.75), "color": "#c9d6d0", "size": (0.44, 0.3)}))),
    Photo("dinner-01", (-0.1, -1.98, 1.12), (0.0, -1.15, 0.84), lens=36, light="evening", exposure=0.65,
        room=_room("#a8705c", DARK),
        items=(_i("bottle-02", -0.2, -1.08, 0.75, 12), _i("wineglass-02", 0.0, -1.28, 0.75), _i("wineglass-05", 0.2, -1.24, 0.75), _i("wineglass-03", -0.3, -1.2, 0.75), _i("bowl-03", 0.27, -0.98, 0.75)),
        props=(("table", {"size": (1.6, 0.9, 0.75), "at": (0, -1.1, 0), "top": WALNUT}), ("lamp", {"at": (0.75, -0.3, 0.0), "height": 1.5, "strength": 6.0}),
               ("plate", {"at": (0.02, -1.02, 0.75)}), ("picture", {"size": (0.5, 0.66), "at": (-0.4, 0, 1.45), "motif": "hills", "colors": ("#f2d9b0", "#d9534f", "#8f5a4a", "#5d3a3a", "#35242a")}))),
    Photo("lunch-01", (0.12, -1.82, 1.2), (0.0, -1.2, 0.8), lens=36, light="day", key="right", exif=1,
        room=_room("#b9c9c4", PARQUET),
        items=(_i("bottle-06", -0.17, -1.06, 0.75, 10), _i("mug-06", 0.2, -1.28, 0.75, -25), _i("mug-04", -0.24, -1.32, 0.75, 40), _i("vase-05", 0.13, -0.98, 0.75), _i("bowl-05", -0.02, -1.22, 0.75)),
        props=(("table", {"size": (1.4, 0.8, 0.75), "at": (0, -1.15, 0), "top": F("wood", "#d8b98a")}), ("paper", {"at": (-0.03, -1.25, 0.75), "color": "#3f5a6b", "size": (0.46, 0.3)}),
               ("board", {"at": (0.38, -1.02, 0.75), "turn": 20}))),
)
WORK = (
    Photo("desk-01", (0.1, -1.5, 1.2), (0.0, -0.52, 0.87), lens=37, light="day",
        room=_room("#cfd8dc", PALE),
        items=(_i("laptop-01", -0.08, -0.5, 0.75, 10), _i("mug-04", 0.24, -0.72, 0.75, -30), _i("plant-06", 0.37, -0.36, 0.75), _i("clock-03", -0.36, -0.42, 0.765, 14)),
        props=(("table", {"size": (1.5, 0.7, 0.75), "at": (0, -0.4, 0), "top": OAK}), ("books", {"at": (0.42, -0.62, 0.75), "count": 2, "seed": 3}), ("pens", {"at": (-0.32, -0.72, 0.75)}),
               ("paper", {"at": (-0.36, -0.7, 0.75), "turn": 12}), ("picture", {"size": (0.36, 0.48), "at": (0.2, 0, 1.42), "motif": "arches", "colors": ("#f4efe4", "#2b4c7e", "#5d8fc4", "#e3b23c")}))),
    Photo("desk-02", (-0.12, -1.5, 1.2), (0.02, -0.5, 0.92), lens=36, light="evening", key="right",
        room=_room("#2f3b45", DARK),
        items=(_i("laptop-03", 0.05, -0.52, 0.75, -12), _i("bottle-05", -0.3, -0.5, 0.75, 20), _i("plant-07", 0.42, -0.3, 0.75), _i("mug-02", -0.22, -0.74, 0.75, -20)),
        props=(("table", {"size": (1.6, 0.75, 0.75), "at": (0, -0.42, 0), "top": WALNUT}), ("lamp", {"at": (-0.52, -0.3, 0.75), "height": 0.48, "strength": 7.0}), ("pens", {"at": (0.34, -0.68, 0.75), "seed": 5}),
               ("books", {"at": (-0.15, -0.16, 0.75), "count": 7, "lying": False, "seed": 12}))),
    Photo("desk-03", (0.18, -1.85, 1.15), (0.02, -1.1, 0.86), lens=37, light="morning", exif=8,
        room=_room("#e7d3c2", PARQUET),
        items=(_i("laptop-04", 0.0, -1.0, 0.75, 14), _i("mug-06", 0.15, -1.26, 0.75, -30), _i("bottle-05", -0.2, -1.12, 0.75, 25), _i("chair-06", -0.05, -0.35, 0.0, 14)),
        props=(("round_table", {"radius": 0.45, "height": 0.75, "at": (0, -1.1, 0), "top": MARBLE, "legs": F("paint", "#1b1b1d")}), ("window", {"at": (0.55, 0, 1.55)}),
               ("curtain", {"at": (-0.3, -0.1, 0.1), "width": 0.35, "color": "#b98d76"}), ("paper", {"at": (-0.16, -1.32, 0.75), "turn": -14}))),
    Photo("desk-04", (-0.15, -1.7, 1.25), (0.03, -0.55, 0.9), lens=33, light="overcast",
        room=_room("#dcd6cc", PARQUET),
        items=(_i("laptop-05", -0.25, -0.5, 0.75, -8), _i("laptop-02", 0.28, -0.52, 0.75, 14), _i("mug-01", 0.0, -0.8, 0.75, -30), _i("clock-02", 0.02, -0.04, 1.17), _i("plant-02", 0.68, -0.25, 0.75)),
        props=(("table", {"size": (1.8, 0.75, 0.75), "at": (0, -0.42, 0), "top": WHITE, "legs": F("paint", "#2a2a2c")}), ("books", {"at": (-0.62, -0.4, 0.75), "count": 4, "seed": 6}),
               ("pens", {"at": (-0.02, -0.62, 0.75), "seed": 2}))),
)
BEDROOM = (
    Photo("bedroom-01", (-0.85, -3.4, 1.4), (0.1, -0.95, 0.62), lens=30, light="morning",
        room=_room("#dfe2da", PALE),
        items=(_i("bed-01", -0.15, -1.15, 0, 0), _i("teddy-05", -0.1, -0.95, 0.585, 14), _i("plant-02", 1.0, -0.3, 0.5), _i("clock-05", -0.15, -0.04, 1.32)),
        props=(("sideboard", {"size": (0.5, 0.42, 0.5), "at": (1.0, -0.05, 0), "body": OAK, "doors": 1}), ("rug", {"size": (2.4, 1.4), "at": (0.2, -2.0, 0), "finish": F("cloth", "#e8e0d0")}),
               ("window", {"at": (-2.5, -1.2, 1.5), "wall": "left"}), ("lamp", {"at": (-1.2, -0.3, 0.5), "height": 0.45, "strength": 3.0}), ("sideboard", {"size": (0.5, 0.42, 0.5), "at": (-1.25, -0.05, 0), "body": OAK, "doors": 1}))),
    Photo("bedroom-02", (-0.9, -3.5, 1.5), (0.1, -0.9, 0.62), lens=31, light="evening", key="right",
        room=_room("#8d8aa0", DARK),
        items=(_i("bed-03", 0.1, -1.15, 0, 0), _i("suitcase-02", -1.15, -1.0, 0, 24), _i("clock-03", 1.22, -0.28, 0.52, -18), _i("teddy-01", 0.3, -1.0, 0.585, -12)),
        props=(("sideboard", {"size": (0.5, 0.42, 0.5), "at": (1.2, -0.05, 0), "body": WALNUT, "doors": 1}), ("lamp", {"at": (1.05, -0.2, 0.5), "height": 0.5, "strength": 6.0}),
               ("rug", {"size": (2.4, 1.4), "at": (0, -2.1, 0), "finish": F("cloth", "#4a4e6a")}), ("picture", {"size": (0.4, 0.53), "at": (-1.0, 0, 1.6), "motif": "moon", "colors": ("#22304a", "#e9dcae")}))),
    Photo("bedroom-03", (0.9, -3.4, 1.5), (0.05, -0.95, 0.6), lens=31, light="overcast",
        room=_room("#f0dcd6", PALE),
        items=(_i("bed-04", -0.1, -1.15, 0, 0), _i("suitcase-05", 0.95, -1.35, 0, -30), _i("chair-05", -1.3, -0.75, 0, 30), _i("teddy-03", -0.1, -0.95, 0.585, 16)),
        props=(("window", {"at": (-1.35, 0, 1.65)}), ("curtain", {"at": (-2.05, -0.1, 0.1), "width": 0.4, "color": "#e3b8b0"}), ("rug", {"size": (2.0, 1.2), "at": (0.4, -2.0, 0), "finish": F("cloth", "#cfa9a0")}))),
    Photo("kids-01", (0.75, -3.0, 1.35), (0.02, -0.9, 0.58), lens=31, light="day",
        room=_room("#cfe0ea", PALE),
        items=(_i("bed-05", -0.35, -1.15, 0, 0), _i("teddy-01", -0.35, -0.9, 0.585, 12), _i("suitcase-04", 0.62, -0.9, 0, -20), _i("clock-02", 0.45, -0.04, 1.25)),
        props=(("rug", {"size": (2.0, 1.3), "at": (0.5, -1.7, 0), "finish": F("cloth", "#ffffff", "stars", ("#33507a", "#f2d98a"), {"count": 5}, 0.7, True)}), ("blocks", {"at": (0.75, -1.5, 0.014), "count": 9}),
               ("picture", {"size": (0.32, 0.42), "at": (-0.9, 0, 1.55), "motif": "moon", "colors": ("#f6d6c8", "#e4572e")}))),
    Photo("kids-02", (0.1, -1.7, 0.78), (0.0, -0.25, 0.55), lens=34, light="morning", key="right", exif=6,
        room=_room("#f3dfae", PALE),
        items=(_i("teddy-04", -0.2, -0.24, 0.42, 14), _i("teddy-02", 0.22, -0.26, 0.42, -16), _i("clock-03", 0.02, -0.24, 1.02 + 0.02, 4), _i("suitcase-04", -0.12, -0.66, 0, 18)),
        props=(("crate", {"size": (1.4, 0.42, 0.42), "at": (0, -0.22, 0), "finish": WHITE}), ("shelf", {"size": (0.9, 0.24, 0.03), "at": (0, 0, 1.02), "wood": OAK}),
               ("books", {"at": (-0.36, -0.12, 1.02), "count": 6, "lying": False, "seed": 5}), ("blocks", {"at": (0.32, -0.7, 0), "count": 8, "seed": 4}))),
    Photo("hall-01", (0.15, -2.6, 1.05), (0.0, -0.4, 0.62), lens=34, light="day", exif=8,
        room=_room("#c9b8a3", F("tiles", "#d9d4c8")),
        items=(_i("suitcase-01", -0.42, -0.75, 0, 18), _i("chair-01", 0.32, -0.6, 0, -24), _i("clock-01", 0.3, -0.04, 1.35), _i("plant-03", -0.55, -0.25, 0.0)),
        props=(("picture", {"size": (0.36, 0.48), "at": (-0.4, 0, 1.6), "motif": "hills", "colors": ("#f4ecdd", "#e3b23c", "#8fa58a", "#5d7a6c", "#35544a")}),
               ("rug", {"size": (1.4, 0.8), "at": (0, -1.2, 0), "finish": F("cloth", "#ffffff", "stripes", ("#efe6d6", "#a8523c"), {"count": 12}, 1.6, True)}))),
    Photo("living-07", (-0.3, -3.45, 1.2), (-0.05, -0.4, 0.68), lens=30.5, light="day", key="right",
        room=_room("#dbe1d2", PARQUET),
        items=(_i("sofa-02", -0.4, -0.58, turn=-3), _i("tv-02", 1.1, -0.55, 0, -22), _i("clock-04", -0.4, -0.04, 1.4), _i("plant-01", -1.52, -0.4, 0.0)),
        props=(("rug", {"size": (2.4, 1.5), "at": (0, -1.5, 0), "finish": F("cloth", "#c9c2b0")}), ("round_table", {"radius": 0.3, "height": 0.38, "at": (-0.35, -1.5, 0), "top": WHITE, "legs": OAK}), ("books", {"at": (-0.35, -1.5, 0.38), "count": 3, "seed": 9}))),
    Photo("living-08", (0.15, -2.6, 1.05), (0.12, -0.2, 0.8), lens=33, light="overcast", key="right",
        room=_room("#b7c4b4", PALE),
        items=(_i("tv-04", 0.3, -0.32, 0.5, -10), _i("tv-01", -0.6, -0.3, 0.5, 8), _i("plant-05", 1.2, -0.5, 0.0)),
        props=(("sideboard", {"size": (2.1, 0.45, 0.5), "at": (-0.1, -0.03, 0), "body": F("wood", "#b98a5a"), "doors": 4}), ("rug", {"size": (2.2, 1.2), "at": (0, -1.4, 0), "finish": F("cloth", "#e0d5c2")}))),
)
EMPTY = (
    Photo("reading-01", (0.12, -1.7, 1.15), (0.0, -0.9, 0.84), lens=36, light="morning",
        room=_room("#d8cbb6", PARQUET), items=(),
        props=(("table", {"size": (1.3, 0.8, 0.75), "at": (0, -0.85, 0), "top": WALNUT}), ("books", {"at": (-0.12, -0.9, 0.75), "count": 5, "seed": 21}), ("books", {"at": (0.22, -0.75, 0.75), "count": 7, "seed": 14}),
               ("fruit", {"at": (0.14, -1.08, 0.75), "kind": "pear", "count": 3, "spread": 0.05}), ("lamp", {"at": (-0.42, -0.65, 0.75), "height": 0.5, "strength": 5.0}), ("paper", {"at": (-0.2, -1.15, 0.75), "turn": 16}), ("pens", {"at": (-0.05, -1.15, 0.75)}))),
    Photo("baking-01", (0.1, -1.15, 1.3), (0.0, -0.34, 0.95), lens=38, light="day", exif=6,
        room=_room("#eef1ee", TILES) | {"wall": F("tiles", "#7fa3b5")}, items=(),
        props=(("counter", {"at": (0, 0, 0), "top": MARBLE, "front": "#e9e6de"}), ("board", {"at": (-0.02, -0.4, 0.9), "turn": 12}), ("fruit", {"at": (0.13, -0.56, 0.9), "kind": "lemon", "count": 3, "spread": 0.05}),
               ("shelf", {"size": (1.2, 0.2, 0.03), "at": (0, 0, 1.4), "wood": OAK}), ("paper", {"at": (-0.2, -0.56, 0.9), "turn": -14, "color": "#c8d3c0", "size": (0.16, 0.22)}))),
)
# fmt: on

_FIRST = [
    "living-01",
    "kitchen-01",
    "desk-01",
    "breakfast-01",
    "kids-01",
    "living-03",
    "dinner-01",
    "bedroom-01",
    "reading-01",
]
PHOTOS: tuple[Photo, ...] = tuple(
    sorted(
        (*LIVING, *KITCHEN, *WORK, *BEDROOM, *EMPTY),
        key=lambda p: _FIRST.index(p.name) if p.name in _FIRST else len(_FIRST),
    )
)
"""Every photo; those that show the most come first, because rendering goes in this order."""
