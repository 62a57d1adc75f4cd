"""What the rooms are made of and is not for sale: walls, windows, tables, cupboards, lamps.

One rule: a prop has pass index 0, so that the truth never counts it as a product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mathutils import Vector

from . import artwork
from .clutter import blocks, board, books, cushion, flowers, fruit, paper, pens, plate
from .finish import Finish
from .materials import glow, make, printed
from .mesh import box, link, mesh_of, quad
from .turned import lathe, tube

Point = Sequence[float]


def _plane(corners: Sequence[Point], material: Any, size: tuple[float, float]) -> Any:
    w, h = size
    return link("plane", mesh_of(corners, [(0, 1, 2, 3)], [(0, 0), (w, 0), (w, h), (0, h)]), material, smooth=False)


def room(
    wall: Finish, floor: Finish, width: float = 5.0, height: float = 2.7, side: Finish | None = None, left: float = -2.5
) -> None:
    """Back wall at y=0, left wall at x=`left`, floor at z=0 towards -y, and skirting boards."""
    right, front = left + width, -6.0
    plain, skirting = make(wall), make(Finish("paint", "#f1efe9"))
    _plane([(left, 0, 0), (right, 0, 0), (right, 0, height), (left, 0, height)], plain, (width, height))
    _plane([(left, front, 0), (left, 0, 0), (left, 0, height), (left, front, height)], make(side or wall), (6, height))
    _plane([(left, front, 0), (right, front, 0), (right, 0, 0), (left, 0, 0)], make(floor), (width, 6))
    box((width, 0.016, 0.1), (left + width / 2, -0.008, 0.05), skirting, 0.004)
    box((0.016, 6.0, 0.1), (left + 0.008, front / 2, 0.05), skirting, 0.004)


def window(at: Point, size: tuple[float, float] = (1.1, 1.3), wall: str = "back") -> None:
    """A window with a bright garden behind it, in the back or left wall."""
    image = artwork.outdoors()
    turn = 0.0 if wall == "back" else 90.0
    white = make(Finish("paint", "#f5f4f0"))
    w, h = size
    inward = Vector((0, -1, 0)) if wall == "back" else Vector((1, 0, 0))
    along = Vector((1, 0, 0)) if wall == "back" else Vector((0, 1, 0))
    middle = Vector(at)
    quad(size, middle + inward * 0.004, glow(image, strength=2.2), (0, 0, turn))
    for s in (-1, 0, 1):
        for post, place in (
            ((0.05, 0.05, h + 0.1), along * (s * w / 2)),
            ((w + 0.1, 0.05, 0.05), Vector((0, 0, s * h / 2))),
        ):
            if s == 0 and post[2] < 0.1:
                continue
            box(post, middle + inward * 0.02 + place, white, 0.006, (0, 0, turn))
    box((w + 0.24, 0.16, 0.03), middle + inward * 0.08 + Vector((0, 0, -h / 2 - 0.05)), white, 0.008, (0, 0, turn))


def curtain(at: Point, width: float = 0.5, height: float = 2.2, color: str = "#d8cdbb") -> None:
    """A hanging curtain in folds along x, its lower middle at `at`."""
    n = 90
    verts = []
    for i in range(n):
        x = width * (i / (n - 1) - 0.5)
        y = 0.035 * math.sin(i * 0.62) + 0.01 * math.sin(i * 1.7)
        verts += [(at[0] + x, at[1] + y, at[2]), (at[0] + x, at[1] + y * 0.7, at[2] + height)]
    link(
        "curtain",
        mesh_of(verts, [(2 * i, 2 * i + 2, 2 * i + 3, 2 * i + 1) for i in range(n - 1)]),
        make(Finish("cloth", color)),
    )


def table(size: Point, at: Point, top: Finish, legs: Finish | None = None, thick: float = 0.035) -> None:
    """A table of width, depth, height `size`, the middle of its floor area at `at`."""
    w, d, h = size
    x, y, z = at
    box((w, d, thick), (x, y, z + h - thick / 2), make(top), 0.008)
    leg = make(legs or top)
    for sx in (-1, 1):
        for sy in (-1, 1):
            corner = (x + sx * (w / 2 - 0.06), y + sy * (d / 2 - 0.06))
            tube(
                [(*corner, z + h - thick), (corner[0] + 0.02 * sx, corner[1] + 0.02 * sy, z)],
                (0.028, 0.018),
                leg,
                steps=1,
            )


def round_table(radius: float, height: float, at: Point, top: Finish, legs: Finish | None = None) -> None:
    """A round table on three legs."""
    x, y, z = at
    lathe(
        [
            (0, height - 0.025),
            (radius, height - 0.025),
            (radius, height - 0.025),
            (radius, height),
            (radius, height),
            (0, height),
        ],
        make(top),
        steps=3,
        at=at,
    )
    leg = make(legs or top)
    for k in range(3):
        a = 2.094 * k + 0.5
        tube(
            [
                (x + 0.6 * radius * math.cos(a), y + 0.6 * radius * math.sin(a), z + height - 0.02),
                (x + 0.9 * radius * math.cos(a), y + 0.9 * radius * math.sin(a), z),
            ],
            (0.02, 0.013),
            leg,
            steps=1,
        )


def sideboard(size: Point, at: Point, body: Finish, doors: int = 3) -> None:
    """A low cupboard on feet, its back middle at `at`."""
    w, d, h = size
    x, y, z = at
    wood, brass, dark = make(body), make(Finish("metal", "#b8924a")), make(Finish("paint", "#1c1a18"))
    box((w, d, h - 0.14), (x, y - d / 2, z + 0.14 + (h - 0.14) / 2), wood, 0.006)
    for k in range(doors):
        left = x - w / 2 + w * (k + 0.5) / doors
        box((w / doors - 0.012, 0.018, h - 0.2), (left, y - d - 0.004, z + 0.14 + (h - 0.14) / 2), wood, 0.004)
        box((0.012, 0.02, 0.12), (left + w / doors * 0.4, y - d - 0.02, z + 0.14 + h * 0.5), brass, 0.004)
    for sx in (-1, 1):
        for back in (0.06, d - 0.06):
            tube(
                [(x + sx * (w / 2 - 0.1), y - back, z + 0.15), (x + sx * (w / 2 - 0.07), y - back, z)],
                (0.02, 0.013),
                dark,
                steps=1,
            )


def counter(
    at: Point, width: float = 3.0, depth: float = 0.62, top: Finish | None = None, front: str = "#e9e6de"
) -> None:
    """A kitchen counter 0.9 m high along the back wall, tiles above it."""
    x, y, z = at
    box((width, depth, 0.04), (x, y - depth / 2, z + 0.88), make(top or Finish("wood", "#b98d5a")), 0.006)
    panel = make(Finish("paint", front))
    count = int(width / 0.5)
    for k in range(count):
        left = x - width / 2 + width * (k + 0.5) / count
        box((width / count - 0.008, 0.02, 0.74), (left, y - depth + 0.03, z + 0.48), panel, 0.004)


def shelf(size: Point, at: Point, wood: Finish) -> None:
    """A board on the wall: width, depth, thickness `size`; `at` is its back middle, top side."""
    box(size, (at[0], at[1] - size[1] / 2, at[2] - size[2] / 2), make(wood), 0.004)


def rug(size: tuple[float, float], at: Point, finish: Finish) -> None:
    """A carpet lying at `at`."""
    box((*size, 0.014), (at[0], at[1], at[2] + 0.007), make(finish), 0.006)


def picture(size: tuple[float, float], at: Point, motif: str, colors: Sequence[str], frame: str = "#2a241f") -> None:
    """A framed print on the back wall, its middle at `at`."""
    w, h = size
    box((w + 0.05, 0.025, h + 0.05), (at[0], at[1] - 0.014, at[2]), make(Finish("wood", frame)), 0.004)
    art = artwork.print_of(motif, colors)
    quad(size, (at[0], at[1] - 0.028, at[2]), printed(art))


def lamp(at: Point, height: float = 0.5, shade: str = "#f3e3c4", strength: float = 5.0, foot: str = "#2b2b2e") -> None:
    """A table or floor lamp that shines."""
    wide = min(0.2, max(0.1, height * 0.28))
    metal = make(Finish("metal", foot))
    lathe(
        [(0, 0), (wide * 0.7, 0), (wide * 0.7, 0.012), (0.012, 0.02), (0.01, height * 0.7), (0, height * 0.7)],
        metal,
        at=at,
    )
    tall = wide * 1.5
    lathe([(wide, height - tall), (wide * 0.72, height)], glow(color=shade, strength=strength), steps=1, at=at)


def crate(size: Point, at: Point, finish: Finish) -> None:
    """A plain block to put things on: a plinth, a stool, a step."""
    box(size, (at[0], at[1], at[2] + size[2] / 2), make(finish), 0.01)


PROPS: Mapping[str, Callable[..., None]] = {
    "window": window, "curtain": curtain, "table": table, "round_table": round_table, "sideboard": sideboard,
    "counter": counter, "shelf": shelf, "rug": rug, "picture": picture, "lamp": lamp, "books": books, "fruit": fruit,
    "flowers": flowers, "board": board, "blocks": blocks, "paper": paper, "plate": plate, "pens": pens,
    "cushion": cushion, "crate": crate,
}  # fmt: skip
