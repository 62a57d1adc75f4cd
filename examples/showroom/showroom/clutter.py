"""What lies about in the rooms and is not for sale: books, fruit, flowers, bread, toys, plates, pencils.

One rule: as in `props`, nothing here gets a number in the mask, so the truth never counts it as a product.
"""

from __future__ import annotations

import math
import random

from mathutils import Euler, Vector

from .finish import Finish, tinted
from .materials import make
from .mesh import Point, ball, box, moved, pillow, soft_box
from .turned import lathe, leaves, tube, vessel


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
        crowning = count > 3 and k == count - 1
        r = 0.0 if crowning or count == 1 else spread
        place = (
            at[0] + r * math.cos(a),
            at[1] + r * math.sin(a),
            at[2] + radius * (2.1 if crowning else 0.92),
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
