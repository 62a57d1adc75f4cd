"""What stands in the rooms and is not for sale: walls, windows, tables, shelves, lamps, books, fruit, toys.

One rule: a prop has pass index 0, so that the truth never counts it as a product.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mathutils import Euler, Vector

from . import patterns
from .finish import Finish, tinted
from .materials import glow, make, printed
from .mesh import ball, box, lathe, leaves, link, mesh_of, moved, pillow, quad, soft_box, tube, vessel

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
    image = patterns.outdoors()
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
    art = patterns.artwork(motif, colors)
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


def books(at: Point, count: int = 4, lying: bool = True, seed: int = 1, turn: float = 0.0) -> None:
    """A pile of books, or a row that stands along x."""
    rng = random.Random(seed)
    colors = ["#33475b", "#b5533c", "#d9c9a3", "#5c7a5a", "#7a4b6b", "#c99a3a", "#e8e4da", "#27323a"]
    reach = 0.0
    pages = make(Finish("paper", "#efe9da"))
    for _ in range(count):
        thick, cover = rng.uniform(0.018, 0.038), make(Finish("paper", rng.choice(colors)))
        deep, tall = rng.uniform(0.13, 0.17), rng.uniform(0.19, 0.25)
        if lying:
            place, yaw = (at[0], at[1], at[2] + reach + thick / 2), turn + rng.uniform(-9, 9)
            sizes = ((tall, deep, thick), (tall - 0.004, deep - 0.008, thick - 0.006))
        else:
            place, yaw = (at[0] + reach + thick / 2, at[1], at[2] + tall / 2), 0.0
            sizes = ((thick, deep, tall), (thick - 0.006, deep - 0.004, tall - 0.008))
        box(sizes[0], place, cover, 0.003, (0, 0, yaw))
        inner = Vector(place) + Euler((0, 0, math.radians(yaw))).to_matrix() @ Vector((0.003, -0.0005, 0))
        box(sizes[1], inner, pages, 0.0, (0, 0, yaw))
        reach += thick + 0.001


def fruit(at: Point, kind: str = "orange", count: int = 5, spread: float = 0.05, seed: int = 1) -> None:
    """A heap of oranges, lemons or apples in a bowl or on a table."""
    rng = random.Random(seed)
    color, radius = {
        "orange": ("#ee8a1d", 0.036),
        "lemon": ("#f3d02f", 0.03),
        "apple": ("#b3241f", 0.036),
        "pear": ("#a3b53a", 0.035),
    }[kind]
    stalk = make(Finish("clay", "#4a3320"))
    for k in range(count):
        a = 2.4 * k + rng.random()
        r = 0.0 if count == 1 else spread * (1 if k < count - 1 else 0.0)
        place = (
            at[0] + r * math.cos(a),
            at[1] + r * math.sin(a),
            at[2] + radius * (0.92 if k < count - 1 or count == 1 else 2.1),
        )
        skin = make(Finish("plastic", tinted(color, rng.uniform(0.88, 1.08))))
        long = 1.25 if kind == "lemon" else 0.95
        ball(
            (radius * long, radius, radius * 0.95),
            place,
            skin,
            (rng.uniform(-30, 30), rng.uniform(-30, 30), rng.uniform(0, 180)),
        )
        ball((0.003, 0.003, 0.006), (place[0], place[1], place[2] + radius * 0.94), stalk)


def flowers(at: Point, height: float = 0.3, color: str = "#e2607a", count: int = 7, seed: int = 1) -> None:
    """Tulips in a vase whose mouth is at `at`."""
    rng = random.Random(seed)
    green, petal = make(Finish("leaf", "#4f8a3f")), make(Finish("leaf", color))
    blades = []
    for k in range(count):
        a, lean = 2.4 * k, rng.uniform(0.05, 0.13)
        high = height * rng.uniform(0.75, 1.05)
        top = (at[0] + lean * math.cos(a), at[1] + lean * math.sin(a), at[2] + high)
        tube(
            [
                (at[0], at[1], at[2] - 0.08),
                (at[0] + 0.25 * lean * math.cos(a), at[1] + 0.25 * lean * math.sin(a), at[2] + high * 0.5),
                top,
            ],
            0.003,
            green,
            sides=8,
        )
        lathe([(0, -0.005), (0.014, 0), (0.021, 0.018), (0.02, 0.036), (0.011, 0.052)], petal, segments=24, at=top)
        turn = Euler((0, -rng.uniform(0.7, 1.1), a + 0.6)).to_matrix().to_4x4()
        turn.translation = Vector((at[0], at[1], at[2] - 0.02))
        blades.append((turn, height * rng.uniform(0.6, 0.85), 0.03, 0.7))
    leaves(blades, green)


def board(at: Point, turn: float = 0.0, bread: bool = True) -> None:
    """A cutting board with a loaf, some slices off it."""
    box((0.36, 0.22, 0.018), (at[0], at[1], at[2] + 0.009), make(Finish("wood", "#a8743f")), 0.008, (0, 0, turn))
    if bread:
        crust = make(Finish("clay", "#a8682e"))
        soft_box((0.19, 0.1, 0.085), (at[0] - 0.05, at[1], at[2] + 0.06), crust, 0.04, 0.008, (0, 0, turn))
        for k in range(2):
            soft_box(
                (0.014, 0.1, 0.08),
                (at[0] + 0.075 + 0.022 * k, at[1] - 0.01, at[2] + 0.058),
                make(Finish("clay", "#e2bd85")),
                0.006,
                0,
                (0, 16 + 14 * k, turn),
            )


def blocks(at: Point, seed: int = 1, count: int = 7) -> None:
    """Wooden toy blocks, some piled up."""
    rng = random.Random(seed)
    for k in range(count):
        color = ("#d9483b", "#f0b429", "#3d8fc4", "#5aa469", "#f4efe2")[k % 5]
        x, y = at[0] + rng.uniform(-0.2, 0.2), at[1] + rng.uniform(-0.12, 0.12)
        box((0.05, 0.05, 0.05), (x, y, at[2] + 0.025), make(Finish("paint", color)), 0.004, (0, 0, rng.uniform(0, 90)))
        if k % 3 == 0:
            box(
                (0.05, 0.05, 0.05),
                (x, y, at[2] + 0.0755),
                make(Finish("paint", "#e8a33d")),
                0.004,
                (0, 0, rng.uniform(0, 90)),
            )


def paper(at: Point, turn: float = 0.0, color: str = "#fbfaf5", size: tuple[float, float] = (0.21, 0.28)) -> None:
    """A sheet or a place mat."""
    box((*size, 0.002), (at[0], at[1], at[2] + 0.001), make(Finish("cloth", color)), 0.0, (0, 0, turn))


def plate(at: Point, color: str = "#f3f1ea", radius: float = 0.12) -> None:
    """A dinner plate."""
    china = make(Finish("ceramic", color))
    moved(
        vessel([(0, 0), (radius * 0.6, 0), (radius * 0.65, 0.004), (radius, 0.016)], 0.003, china, china, floor=0.004),
        at,
    )


def pens(at: Point, seed: int = 1) -> None:
    """Pencils that lie about."""
    rng = random.Random(seed)
    for color in ("#e0a526", "#c8202c", "#2457b0"):
        a, x, y = rng.uniform(0, 3.1), at[0] + rng.uniform(-0.03, 0.03), at[1] + rng.uniform(-0.03, 0.03)
        dx, dy = 0.08 * math.cos(a), 0.08 * math.sin(a)
        tube(
            [(x - dx, y - dy, at[2] + 0.004), (x + dx, y + dy, at[2] + 0.004)],
            0.0038,
            make(Finish("paint", color)),
            steps=1,
            sides=6,
        )


def cushion(at: Point, finish: Finish, turn: Point = (0, 0, 0), size: float = 0.45) -> None:
    """A loose cushion."""
    pillow((size, size, 0.16), at, make(finish), turn, seed=3)


def crate(size: Point, at: Point, finish: Finish) -> None:
    """A plain block to put things on: a plinth, a stool, a step."""
    box(size, (at[0], at[1], at[2] + size[2] / 2), make(finish), 0.01)


PROPS: Mapping[str, Callable[..., None]] = {
    "window": window, "curtain": curtain, "table": table, "round_table": round_table, "sideboard": sideboard,
    "counter": counter, "shelf": shelf, "rug": rug, "picture": picture, "lamp": lamp, "books": books, "fruit": fruit,
    "flowers": flowers, "board": board, "blocks": blocks, "paper": paper, "plate": plate, "pens": pens,
    "cushion": cushion, "crate": crate,
}  # fmt: skip
