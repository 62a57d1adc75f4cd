"""Chairs and sofas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..materials import make
from ..mesh import box, link, mesh_of, pillow, rounded, slab, soft_box
from ..turned import tube


def chair(look: Mapping[str, Any]) -> list[Any]:
    """A chair by `form`: slats, ladder, panel, shell, tub or cantilever; about 0.85 m high."""
    frame, seat = make(look["frame"]), make(look["seat"])
    return _FORMS[look["form"]](frame, seat)


def _legs(frame: Any, height: float, half: tuple[float, float], splay: float, radius: float) -> list[Any]:
    parts = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            top = (sx * half[0], sy * half[1], height)
            foot = (sx * (half[0] + splay), sy * (half[1] + splay), 0.0)
            parts.append(tube([top, foot], (radius * 1.25, radius * 0.8), frame, steps=1))
    return parts


def _slats(frame: Any, seat: Any) -> list[Any]:
    parts = _legs(frame, 0.44, (0.18, 0.17), 0.035, 0.017)
    parts += [soft_box((0.45, 0.43, 0.045), (0, 0, 0.455), seat, 0.02, 0.006)]
    for sx in (-1, 1):
        parts.append(tube([(sx * 0.19, 0.19, 0.46), (sx * 0.2, 0.235, 0.7), (sx * 0.2, 0.27, 0.9)], 0.016, frame))
    for k in range(5):
        x = -0.13 + 0.065 * k
        parts.append(tube([(x * 0.95, 0.195, 0.47), (x, 0.235, 0.68), (x * 1.02, 0.262, 0.86)], 0.008, frame))
    rail = slab(rounded(0.47, 0.085, 0.03), 0.024, frame, 0.008)
    rail.location, rail.rotation_euler = (0, 0.268, 0.84), (-0.14, 0, 0)
    parts.append(rail)
    parts += [tube([(sx * 0.195, -0.19, 0.2), (sx * 0.195, 0.19, 0.2)], 0.009, frame, steps=1) for sx in (-1, 1)]
    return parts


def _ladder(frame: Any, seat: Any) -> list[Any]:
    parts = []
    for sx in (-1, 1):
        parts.append(box((0.036, 0.036, 0.45), (sx * 0.19, -0.19, 0.225), frame, 0.006))
        parts.append(tube([(sx * 0.19, 0.2, 0), (sx * 0.19, 0.2, 0.45), (sx * 0.19, 0.27, 0.98)], 0.02, frame))
        parts += [box((0.024, 0.38, 0.03), (sx * 0.19, 0, z), frame, 0.004) for z in (0.16, 0.4)]
    parts += [box((0.38, 0.024, 0.05), (0, y, 0.41), frame, 0.004) for y in (-0.19, 0.19)]
    parts.append(soft_box((0.44, 0.43, 0.06), (0, 0, 0.46), seat, 0.028, 0.012))
    for k in range(4):
        z = 0.57 + 0.115 * k
        parts.append(box((0.37, 0.016, 0.06), (0, 0.215 + 0.13 * (z - 0.5), z), frame, 0.006, (-8, 0, 0)))
    return parts


def _panel(frame: Any, seat: Any) -> list[Any]:
    parts = _legs(frame, 0.42, (0.19, 0.19), 0.03, 0.016)
    parts.append(soft_box((0.49, 0.48, 0.11), (0, 0, 0.46), seat, 0.045, 0.02))
    parts.append(soft_box((0.47, 0.09, 0.5), (0, 0.24, 0.73), seat, 0.042, 0.02, (-9, 0, 0)))
    return parts


def _shell(frame: Any, seat: Any) -> list[Any]:
    n = 26
    verts, faces = [], []
    for i in range(n):
        s = i / (n - 1)
        bend = min(max((s - 0.38) / 0.3, 0.0), 1.0)
        smooth = bend * bend * (3 - 2 * bend)
        y = -0.23 + 0.45 * min(s / 0.5, 1.0) * (1 - 0.1 * smooth) + 0.1 * max(s - 0.5, 0)
        z = (
            0.45
            - 0.03 * math.sin(math.pi * min(s / 0.5, 1.0))
            + 0.42 * max(0.0, s - 0.42) / 0.58 * (0.4 + 0.6 * smooth)
        )
        z -= 0.03 * max(0.0, 0.12 - s) / 0.12
        half = 0.235 * (1 - 0.32 * max(0.0, (s - 0.72) / 0.28) ** 2) * (1 - 0.12 * max(0.0, (0.1 - s) / 0.1) ** 2)
        for j in range(n):
            u = 2 * j / (n - 1) - 1
            verts.append((u * half, y - 0.05 * smooth * u * u, z + 0.05 * (1 - smooth) * u * u))
    for i in range(n - 1):
        for j in range(n - 1):
            a = i * n + j
            faces.append((a, a + 1, a + n + 1, a + n))
    shell = link("shell", mesh_of(verts, faces), seat)
    thick = shell.modifiers.new("thick", "SOLIDIFY")
    thick.thickness = 0.012
    parts = [shell, *_legs(frame, 0.42, (0.12, 0.12), 0.1, 0.014)]
    parts += [tube([(-0.15, sy * 0.15, 0.28), (0.15, sy * 0.15, 0.28)], 0.006, frame, steps=1) for sy in (-1, 1)]
    return parts


def _tub(frame: Any, seat: Any) -> list[Any]:
    parts = _legs(frame, 0.22, (0.24, 0.22), 0.05, 0.02)
    parts.append(soft_box((0.6, 0.6, 0.16), (0, -0.02, 0.34), seat, 0.06, 0.03))
    n = 44
    for k in range(n):
        a = math.radians(-20 + 220 * k / (n - 1))
        height = 0.3 + 0.25 * max(0.0, math.sin(a)) ** 1.2
        parts.append(
            soft_box(
                (0.075, 0.12, height + 0.12),
                (0.34 * math.cos(a), 0.02 + 0.32 * math.sin(a), 0.26 + (height + 0.12) / 2),
                seat,
                0.034,
                0.004,
                (0, 0, math.degrees(a) + 0),
            )
        )
    return parts


def _cantilever(frame: Any, seat: Any) -> list[Any]:
    parts = []
    for sx in (-0.22, 0.22):
        path = [(sx, 0.24, 0.015), (sx, -0.2, 0.015), (sx, -0.24, 0.05), (sx, -0.24, 0.4), (sx, -0.2, 0.44)]
        parts.append(tube([*path, (sx, 0.18, 0.44), (sx, 0.225, 0.48), (sx, 0.3, 0.88)], 0.0125, frame))
    parts.append(tube([(-0.22, 0.24, 0.015), (0.22, 0.24, 0.015)], 0.0125, frame, steps=1))
    parts.append(soft_box((0.43, 0.42, 0.035), (0, -0.02, 0.465), seat, 0.015, 0.006))
    parts.append(soft_box((0.43, 0.03, 0.27), (0, 0.268, 0.74), seat, 0.014, 0.006, (-10, 0, 0)))
    return parts


_FORMS = {"slats": _slats, "ladder": _ladder, "panel": _panel, "shell": _shell, "tub": _tub, "cantilever": _cantilever}


def couch(look: Mapping[str, Any]) -> list[Any]:
    """A sofa: `width` m, `seats` cushions, `arm` thickness, `legs`, `cushions` and, for a corner sofa, `chaise`."""
    cloth, leg = make(look["cloth"]), make(look["leg"])
    width, arm, seats = look.get("width", 2.0), look.get("arm", 0.18), look.get("seats", 2)
    back, depth, lift = look.get("back", 0.5), 0.9, look.get("lift", 0.14)
    inner = width - 2 * arm
    parts = [soft_box((width, depth - 0.06, 0.2), (0, 0.02, lift + 0.1), cloth, 0.04)]
    parts.append(
        soft_box(
            (width - 0.02, 0.2, back + 0.14),
            (0, depth / 2 - 0.1, lift + 0.12 + back / 2),
            cloth,
            look.get("round", 0.08),
        )
    )
    for sx in (-1, 1):
        if arm > 0.05:
            parts.append(
                soft_box(
                    (arm, depth, 0.44), (sx * (width - arm) / 2, 0, lift + 0.26), cloth, look.get("round", 0.08), 0.01
                )
            )
        for sy in (-1, 1):
            top = (sx * (width / 2 - 0.1), sy * 0.34, lift + 0.03)
            parts.append(tube([top, (top[0] + 0.03 * sx, top[1] + 0.02 * sy, 0)], (0.026, 0.016), leg, steps=1))
    for k in range(seats):
        x, w = -inner / 2 + inner / seats * (k + 0.5), inner / seats - 0.012
        long = 0.5 if look.get("chaise") and k == seats - 1 else 0.0
        parts.append(soft_box((w, 0.68 + long, 0.17), (x, -0.11 - long / 2, lift + 0.275), cloth, 0.055, 0.03))
        if long:
            parts.append(soft_box((w + arm, long + 0.1, 0.2), (x + arm / 2, -0.4 - long / 2, lift + 0.1), cloth, 0.04))
        parts.append(
            soft_box((w, 0.2, back - 0.02), (x, 0.2, lift + 0.38 + back / 2 - 0.04), cloth, 0.085, 0.04, (-10, 0, 0))
        )
        if look.get("buttons"):
            parts += [
                box((0.02, 0.012, 0.02), (x + dx, 0.055, lift + 0.38 + dz), leg, 0.006)
                for dx in (-w / 4, w / 4)
                for dz in (0.15, 0.3)
            ]
    for k, finish in enumerate(look.get("cushions", ())):
        side = -1 if k % 2 == 0 else 1
        parts.append(
            pillow(
                (0.46, 0.46, 0.17),
                (side * (inner / 2 - 0.26), -0.03, lift + 0.56),
                make(finish),
                (72, 0, -14 * side),
                seed=k,
            )
        )
    return parts
