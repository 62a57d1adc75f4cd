"""Potted plants."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from mathutils import Euler, Matrix, Vector

from ..finish import Finish, tinted
from ..materials import make
from ..mesh import ball
from ..turned import lathe, leaves, tube, vessel

_POTS: dict[str, list[tuple[float, float]]] = {
    "taper": [(0, 0), (0.075, 0), (0.077, 0.004), (0.09, 0.08), (0.105, 0.155), (0.105, 0.17)],
    "terracotta": [
        (0, 0),
        (0.075, 0),
        (0.077, 0.003),
        (0.1, 0.125),
        (0.1, 0.125),
        (0.113, 0.126),
        (0.113, 0.126),
        (0.117, 0.165),
    ],
    "cylinder": [(0, 0), (0.1, 0), (0.102, 0.004), (0.102, 0.09), (0.102, 0.17)],
    "round": [(0, 0), (0.06, 0), (0.105, 0.04), (0.12, 0.09), (0.11, 0.14), (0.1, 0.16)],
}


def plant(look: Mapping[str, Any]) -> list[Any]:
    """A plant of `grows` (snake, bush, rubber, palm, succulent, cactus) in a pot of `form`."""
    profile = _POTS[look["form"]]
    parts = vessel(profile, 0.008, make(look["pot"]), make(look["pot"]))
    soil = make(Finish("clay", "#35261c"))
    parts.append(lathe([(profile[-1][0] - 0.01, 0.15), (0, 0.155)], soil, steps=1))
    grown = _GROWS[look["grows"]](random.Random(look.get("seed", 1)), look.get("green", "#3f7a3a"))
    if look.get("tall", 1.0) != 1.0:
        for thing in grown:
            thing.scale = Vector((1, 1, 1)) * look["tall"]
            thing.location = Vector(thing.location) * look["tall"] + Vector((0, 0, 0.15 * (1 - look["tall"])))
    return parts + grown


def _leaf(green: str, factor: float = 1.0) -> Any:
    return make(Finish("leaf", tinted(green, factor)))


def _aim(at: tuple[float, float, float], heading: float, pitch: float, roll: float = 0.0) -> Any:
    return Matrix.Translation(at) @ Euler((roll, -pitch, heading), "XYZ").to_matrix().to_4x4()


def _snake(rng: random.Random, green: str) -> list[Any]:
    stripes = make(Finish("leaf", green, "stripes", (green, tinted(green, 1.5)), {"count": 22, "upright": True}))
    blades = []
    for k in range(13):
        a, r = k * 2.4, 0.015 + 0.005 * k
        at = (r * math.cos(a), r * math.sin(a), 0.14)
        blades.append(
            (
                _aim(at, a, math.radians(rng.uniform(76, 88)), 1.3),
                rng.uniform(0.3, 0.52),
                rng.uniform(0.05, 0.066),
                rng.uniform(-0.1, 0.25),
            )
        )
    return [leaves(blades, stripes, rows=10)]


def _bush(rng: random.Random, green: str) -> list[Any]:
    groups: list[list[Any]] = [[], [], []]
    for _ in range(230):
        heading, lift = rng.uniform(0, 6.283), rng.uniform(0.0, 1.0)
        r = 0.15 * math.sqrt(rng.random()) * (1 - 0.35 * lift)
        at = (r * math.cos(heading), r * math.sin(heading), 0.17 + 0.25 * lift * (1 - 0.5 * (r / 0.15) ** 2))
        blade = (
            _aim(at, heading + rng.uniform(-0.5, 0.5), rng.uniform(0.0, 0.9)),
            rng.uniform(0.07, 0.12),
            rng.uniform(0.035, 0.055),
            rng.uniform(0.6, 1.4),
        )
        rng.choice(groups).append(blade)
    return [leaves(group, _leaf(green, f)) for group, f in zip(groups, (0.75, 1.0, 1.3), strict=True)]


def _rubber(rng: random.Random, green: str) -> list[Any]:
    stem = make(Finish("clay", "#5d4630"))
    parts: list[Any] = []
    blades = []
    for s in range(3):
        a = s * 2.1
        top = (0.07 * math.cos(a), 0.07 * math.sin(a), 0.42 + 0.08 * s)
        parts.append(tube([(0.02 * math.cos(a), 0.02 * math.sin(a), 0.14), top], 0.006, stem, steps=2))
        for k in range(9):
            t = 0.25 + 0.75 * k / 8
            at = (
                0.02 * math.cos(a) * (1 - t) + top[0] * t,
                0.02 * math.sin(a) * (1 - t) + top[1] * t,
                0.14 + (top[2] - 0.14) * t,
            )
            blades.append(
                (
                    _aim(at, 2.4 * k + s, rng.uniform(0.35, 0.8)),
                    rng.uniform(0.15, 0.2),
                    rng.uniform(0.08, 0.1),
                    rng.uniform(0.3, 0.9),
                )
            )
    return [*parts, leaves(blades, _leaf(green))]


def _palm(rng: random.Random, green: str) -> list[Any]:
    blades, stems = [], []
    wood = _leaf(green, 0.8)
    for k in range(13):
        a, reach, high = 2.4 * k, rng.uniform(0.18, 0.32), rng.uniform(0.4, 0.62)
        path = [
            (0.01 * math.cos(a), 0.01 * math.sin(a), 0.14),
            (0.3 * reach * math.cos(a), 0.3 * reach * math.sin(a), 0.15 + 0.7 * (high - 0.15)),
        ]
        path += [
            (0.7 * reach * math.cos(a), 0.7 * reach * math.sin(a), high),
            (1.1 * reach * math.cos(a), 1.1 * reach * math.sin(a), high - 0.06),
        ]
        stems.append(tube(path, (0.004, 0.003, 0.002, 0.001), wood, steps=5, sides=8))
        for j in range(15):
            t = 0.3 + 0.7 * j / 14
            x = reach * (0.05 + 1.05 * t)
            z = high - 0.06 * max(0.0, (t - 0.65) / 0.35) ** 2 - 0.35 * high * (1 - min(t / 0.65, 1.0)) ** 2
            at, long = (x * math.cos(a), x * math.sin(a), z), 0.15 * (1 - 0.55 * abs(t - 0.6))
            blades += [(_aim(at, a + side * 0.85, -0.1), long, 0.018, 0.7) for side in (-1, 1)]
    return [*stems, leaves(blades, _leaf(green), rows=5)]


def _succulent(rng: random.Random, green: str) -> list[Any]:
    rings: list[list[Any]] = [[], []]
    for k in range(44):
        a, t = 2.39996 * k, k / 43
        at = (0.012 * math.cos(a), 0.012 * math.sin(a), 0.165 + 0.05 * t)
        rings[k % 2].append((_aim(at, a, 0.22 + 1.15 * t), 0.15 * (1 - 0.55 * t), 0.062 * (1 - 0.4 * t), -0.5))
    made = [leaves(ring, _leaf(green, f)) for ring, f in zip(rings, (0.9, 1.2), strict=True)]
    for thing in made:
        thing.modifiers.new("thick", "SOLIDIFY").thickness = 0.008
    return made


def _cactus(rng: random.Random, green: str) -> list[Any]:
    skin = make(Finish("leaf", green, "stripes", (green, tinted(green, 0.62)), {"count": 36, "upright": True}))
    spots = make(Finish("paper", "#e2557f"))
    body = [(0.05, 0.14), (0.062, 0.2), (0.064, 0.32), (0.058, 0.42), (0.035, 0.47), (0, 0.48)]
    parts = [lathe(body, skin)]
    for s, z in ((-1, 0.24), (1, 0.3)):
        parts.append(
            tube(
                [(s * 0.05, 0, z), (s * 0.11, 0, z + 0.005), (s * 0.125, 0, z + 0.05), (s * 0.125, 0, z + 0.14)],
                (0.03, 0.032, 0.034, 0.028),
                _leaf(green, 0.9),
                steps=8,
                sides=20,
            )
        )
        parts.append(ball((0.028, 0.028, 0.028), (s * 0.125, 0, z + 0.14), _leaf(green, 0.9)))
        parts.append(ball((0.018, 0.018, 0.014), (s * 0.125, 0, z + 0.17), spots))
    return [*parts, ball((0.026, 0.026, 0.018), (0.01, 0, 0.485), spots)]


_GROWS: dict[str, Callable[[random.Random, str], list[Any]]] = {
    "snake": _snake,
    "bush": _bush,
    "rubber": _rubber,
    "palm": _palm,
    "succulent": _succulent,
    "cactus": _cactus,
}
