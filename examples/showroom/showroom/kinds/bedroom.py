"""Beds and teddy bears."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from ..finish import linear
from ..materials import make
from ..mesh import ball, box, pillow, rounded, slab, soft_box
from ..turned import tube


def bed(look: Mapping[str, Any]) -> list[Any]:
    """A bed, its foot towards -y: `head` is panel, slats, tufted, arch or low; `cover`, `sheet`, `throw` finishes."""
    frame, cover, sheet = make(look["frame"]), make(look["cover"]), make(look["sheet"])
    width, length = look.get("width", 1.5), 2.0
    parts = [box((width + 0.06, length + 0.04, 0.16), (0, 0, 0.25), frame, 0.02)]
    corners = ((sx * (width / 2 - 0.06), sy * (length / 2 - 0.08), 0.1) for sx in (-1, 1) for sy in (-1, 1))
    parts += [box((0.07, 0.07, 0.2), corner, frame, 0.01) for corner in corners]
    parts.append(soft_box((width, length, 0.24), (0, 0, 0.43), sheet, 0.07, 0.012))
    parts.append(soft_box((width + 0.12, length * 0.7, 0.2), (0, -length * 0.155, 0.482), cover, 0.085, 0.035))
    parts.append(soft_box((width + 0.12, 0.24, 0.08), (0, length * 0.2, 0.575), sheet, 0.038, 0.02))
    if "throw" in look:
        parts.append(soft_box((width + 0.15, 0.5, 0.205), (0, -length * 0.3, 0.505), make(look["throw"]), 0.087, 0.036))
    soft = make(look.get("pillow", look["sheet"]))
    for sx in (-1, 1):
        x = sx * width * 0.25
        parts.append(pillow((width * 0.45, 0.5, 0.22), (x, 0.8, 0.7), soft, (48, 0, 4 * sx), seed=sx + 2))
        parts.append(
            pillow(
                (width * 0.42, 0.44, 0.2), (x * 0.96, 0.62, 0.68), make(look["accent"]), (42, 0, -3 * sx), seed=sx + 5
            )
        )
    return parts + _HEADS[look["head"]](frame, width, length / 2)


def _panel(frame: Any, width: float, y: float) -> list[Any]:
    return [
        box((width + 0.1, 0.06, 0.95), (0, y + 0.03, 0.6), frame, 0.012),
        box((width + 0.16, 0.09, 0.05), (0, y + 0.03, 1.09), frame, 0.015),
    ]


def _slats(frame: Any, width: float, y: float) -> list[Any]:
    parts = [box((0.07, 0.07, 1.05), (sx * width / 2, y + 0.03, 0.52), frame, 0.015) for sx in (-1, 1)]
    parts += [box((width, 0.05, 0.08), (0, y + 0.03, z), frame, 0.015) for z in (0.55, 1.0)]
    count = 11
    parts += [
        box((0.035, 0.025, 0.4), (-width / 2 + width * (k + 1) / (count + 1), y + 0.03, 0.78), frame, 0.008)
        for k in range(count)
    ]
    return parts


def _tufted(frame: Any, width: float, y: float) -> list[Any]:
    parts = [box((width + 0.14, 0.06, 1.15), (0, y + 0.06, 0.58), frame, 0.02)]
    cols, rows = 5, 3
    w, h = (width + 0.12) / cols, 0.26
    parts += [
        soft_box((w, 0.13, h), (-(width + 0.12) / 2 + w * (c + 0.5), y + 0.02, 0.44 + h * (r + 0.5)), frame, 0.06, 0.03)
        for c in range(cols)
        for r in range(rows)
    ]
    return parts


def _arch(frame: Any, width: float, y: float) -> list[Any]:
    half = width / 2
    path = [(-half, y + 0.03, 0), (-half, y + 0.03, 0.7), (-half * 0.7, y + 0.03, 1.12), (0, y + 0.03, 1.28)]
    path += [(half * 0.7, y + 0.03, 1.12), (half, y + 0.03, 0.7), (half, y + 0.03, 0)]
    parts = [
        tube(path, 0.022, frame, steps=12),
        tube([(-half, y + 0.03, 0.62), (half, y + 0.03, 0.62)], 0.016, frame, steps=1),
    ]
    for k in range(9):
        x = -half + width * (k + 1) / 10
        parts.append(
            tube([(x, y + 0.03, 0.62), (x, y + 0.03, 1.25 - 0.5 * (abs(x) / half) ** 2.6)], 0.009, frame, steps=1)
        )
    return parts


def _low(frame: Any, width: float, y: float) -> list[Any]:
    board = slab(rounded(width + 0.3, 0.55, 0.2), 0.07, frame, 0.03)
    board.location = (0, y + 0.03, 0.3)
    return [board]


_HEADS = {"panel": _panel, "slats": _slats, "tufted": _tufted, "arch": _arch, "low": _low}


def teddy(look: Mapping[str, Any]) -> list[Any]:
    """A sitting bear about 0.36 m high: `fur` and `light` colours, and `wear`: scarf, bow, shirt or none."""
    fur = _fur_material(look["fur"])
    pale = _fur_material(look["light"])
    limb = _fur_material(look.get("limbs", look["fur"]))
    black = make(look["nose"])
    body = ball((0.1, 0.088, 0.115), (0, 0, 0.115), make(look["shirt"]) if "shirt" in look else fur)
    hairy = [
        ball((0.088, 0.08, 0.08), (0, -0.01, 0.275), fur),
        ball((0.045, 0.03, 0.036), (0, -0.083, 0.255), pale),
    ]
    if "shirt" not in look:
        hairy += [body, ball((0.068, 0.02, 0.078), (0, -0.074, 0.11), pale)]
    for s in (-1, 1):
        ear = limb if "limbs" in look else fur
        hairy.append(ball((0.036, 0.02, 0.036), (s * 0.07, 0.0, 0.345), ear))
        hairy.append(ball((0.022, 0.01, 0.022), (s * 0.07, -0.018, 0.343), pale))
        hairy.append(ball((0.036, 0.036, 0.082), (s * 0.115, -0.035, 0.145), limb, (24, s * -38, 0)))
        hairy.append(ball((0.046, 0.095, 0.046), (s * 0.085, -0.11, 0.048), limb, (0, 0, s * -22)))
        hairy.append(ball((0.036, 0.012, 0.036), (s * 0.122, -0.198, 0.05), pale, (0, 0, s * -22)))
    for k, thing in enumerate(hairy):
        _grow(thing, look.get("length", 0.008), k)
    parts = [*hairy] if body in hairy else [body, *hairy]
    body.scale = (1.05, 1.05, 1.02) if "shirt" in look else (1, 1, 1)
    for s in (-1, 1):
        if "patch" in look:
            parts.append(ball((0.024, 0.01, 0.028), (s * 0.034, -0.078, 0.293), make(look["patch"]), (0, s * 20, 0)))
        parts.append(ball((0.0105, 0.008, 0.0105), (s * 0.033, -0.09, 0.292), black))
    parts.append(ball((0.017, 0.011, 0.012), (0, -0.118, 0.268), black))
    parts.append(tube([(-0.018, -0.112, 0.24), (0, -0.116, 0.234), (0.018, -0.112, 0.24)], 0.0025, black))
    return parts + _wear(look)


def _wear(look: Mapping[str, Any]) -> list[Any]:
    if "scarf" in look:
        cloth = make(look["scarf"])
        ring = soft_box((0.17, 0.16, 0.036), (0, -0.008, 0.208), cloth, 0.017, 0.002)
        tail = soft_box((0.042, 0.018, 0.12), (0.045, -0.096, 0.15), cloth, 0.008, 0.002, (-12, 8, 0))
        return [ring, tail]
    if "bow" in look:
        cloth = make(look["bow"])
        wings = [pillow((0.075, 0.055, 0.03), (s * 0.042, -0.1, 0.207), cloth, (80, s * 10, 0)) for s in (-1, 1)]
        return [*wings, ball((0.015, 0.012, 0.015), (0, -0.108, 0.207), cloth)]
    return []


def _fur_material(color: str) -> Any:
    material = bpy.data.materials.new("fur")
    material.use_nodes = True
    bsdf = material.node_tree.nodes["Principled BSDF"]
    bsdf.inputs["Base Color"].default_value = linear(color)
    bsdf.inputs["Roughness"].default_value = 0.75
    bsdf.inputs["Sheen Weight"].default_value = 0.4
    return material


def _grow(thing: Any, length: float, seed: int) -> None:
    area = sum(face.area for face in thing.data.polygons)
    modifier = thing.modifiers.new("fur", "PARTICLE_SYSTEM")
    system = modifier.particle_system
    system.seed = seed + 1
    settings = system.settings
    settings.type, settings.count = "HAIR", max(120, int(area * 30_000))
    settings.hair_length, settings.hair_step = length, 2
    settings.brownian_factor = length * 0.35
    settings.child_type, settings.rendered_child_count = "SIMPLE", 14
    settings.child_radius, settings.child_roundness = 0.007, 0.4
    settings.root_radius, settings.tip_radius, settings.radius_scale = 0.6, 0.1, 0.0008
    settings.roughness_2 = 0.004
