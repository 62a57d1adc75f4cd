"""Clocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import artwork
from ..finish import Finish
from ..materials import make, printed
from ..mesh import ball, box, link, mesh_of, quad, slab
from ..turned import lathe, tube


def clock(look: Mapping[str, Any]) -> list[Any]:
    """A clock of `form` (wall, square, sunburst, alarm, mantel), its middle at radius above z=0, showing `time`."""
    r = look.get("radius", 0.19)
    frame = make(look["frame"])
    face = printed(artwork.dial(look["dial"], look.get("style", "digits")), 0.5)
    hands = make(Finish("paint", look["dial"][1]))
    deep = 0.05 if look["form"] in ("alarm", "mantel") else 0.035
    parts = (
        [quad((2 * r * 0.93, 2 * r * 0.93), (0, -deep * 0.62, r), face)]
        if look["form"] == "square"
        else [_disc(r * 0.93, -deep * 0.62, r, face)]
    )
    parts += _hands(look.get("time", (10, 9)), r, -deep * 0.62, hands, make(Finish("paint", look["dial"][2])))
    return parts + _BODIES[look["form"]](frame, r, deep)


def _disc(radius: float, y: float, z: float, material: Any) -> Any:
    n = 96
    ring = [(math.cos(2 * math.pi * k / n), math.sin(2 * math.pi * k / n)) for k in range(n)]
    verts = [(radius * c, y, z + radius * s) for c, s in ring]
    return link(
        "disc", mesh_of(verts, [tuple(range(n))], [(0.5 + c / 2, 0.5 + s / 2) for c, s in ring]), material, smooth=False
    )


def _hands(time: tuple[int, int], r: float, y: float, ink: Any, accent: Any) -> list[Any]:
    hour, minute = time
    parts = []
    for angle, long, wide in (((hour % 12 + minute / 60) / 12, 0.5, 0.05), (minute / 60, 0.74, 0.035)):
        a = 2 * math.pi * angle
        middle = (r * long * 0.42 * math.sin(a), y - 0.004, r + r * long * 0.42 * math.cos(a))
        parts.append(box((r * wide, 0.003, r * long), middle, ink, 0.001, (0, math.degrees(a), 0)))
    parts.append(ball((r * 0.05, 0.004, r * 0.05), (0, y - 0.006, r), accent))
    return parts


def _rim(frame: Any, r: float, deep: float, wide: float) -> Any:
    profile = [
        (0, deep / 2),
        (r, deep / 2),
        (r, deep / 2),
        (r, -deep * 0.5),
        (r - wide * 0.4, -deep),
        (r - wide, -deep * 0.6),
        (r - wide, 0),
    ]
    ring = lathe(profile, frame, steps=5, segments=96)
    ring.rotation_euler = (math.pi / 2, 0, 0)
    ring.scale = (1, 1, -1)
    ring.location = (0, 0, r)
    return ring


def _wall(frame: Any, r: float, deep: float) -> list[Any]:
    return [_rim(frame, r, deep, 0.14 * r)]


def _square(frame: Any, r: float, deep: float) -> list[Any]:
    parts = [box((2 * r, deep, 2 * r), (0, 0, r), frame, 0.01)]
    for s in (-1, 1):
        parts.append(box((0.09 * r, deep * 1.7, 2.04 * r), (s * 0.98 * r, -deep * 0.3, r), frame, 0.008))
        parts.append(box((2.04 * r, deep * 1.7, 0.09 * r), (0, -deep * 0.3, r + s * 0.98 * r), frame, 0.008))
    return parts


def _sunburst(frame: Any, r: float, deep: float) -> list[Any]:
    parts = [_rim(frame, r, deep, 0.12 * r)]
    for k in range(24):
        a = 2 * math.pi * k / 24
        far = r * (1.75 if k % 2 else 1.45)
        points = [
            (r * 0.95 * math.sin(a), 0, r + r * 0.95 * math.cos(a)),
            (far * math.sin(a), 0, r + far * math.cos(a)),
        ]
        parts.append(tube(points, (0.05 * r, 0.012 * r), frame, steps=1, sides=8))
    return parts


def _alarm(frame: Any, r: float, deep: float) -> list[Any]:
    parts = [_rim(frame, r, deep, 0.14 * r)]
    for s in (-1, 1):
        bell = lathe([(0, 0.28 * r), (0.2 * r, 0.24 * r), (0.36 * r, 0.1 * r), (0.4 * r, 0)], frame)
        bell.location, bell.rotation_euler = (s * 0.62 * r, 0, 1.88 * r), (0, s * 0.6, 0)
        parts.append(bell)
        parts.append(tube([(s * 0.45 * r, 0, 0.3 * r), (s * 0.72 * r, 0, -0.16 * r)], 0.07 * r, frame, steps=1))
        parts.append(ball((0.1 * r, 0.1 * r, 0.1 * r), (s * 0.72 * r, 0, -0.16 * r), frame))
    parts.append(tube([(-0.3 * r, 0, 2.2 * r), (0, 0, 2.42 * r), (0.3 * r, 0, 2.2 * r)], 0.035 * r, frame))
    return parts


def _mantel(frame: Any, r: float, deep: float) -> list[Any]:
    outline = [(-2.0 * r, -0.25 * r), (2.0 * r, -0.25 * r), (1.9 * r, 0.1 * r)]
    outline += [
        (
            1.15 * r * math.cos(a) * (1 + 0.25 * (1 - math.sin(a))),
            r + 1.15 * r * math.sin(a) - 0.25 * r * (1 - math.sin(a)),
        )
        for a in (math.pi * k / 20 for k in range(21))
    ]
    outline += [(-1.9 * r, 0.1 * r)]
    return [
        slab(outline, deep, frame, 0.008),
        _rim(frame, r, deep * 0.9, 0.1 * r),
        box((4.3 * r, deep * 1.8, 0.14 * r), (0, 0, -0.3 * r), frame, 0.006),
    ]


_BODIES = {"wall": _wall, "square": _square, "sunburst": _sunburst, "alarm": _alarm, "mantel": _mantel}
