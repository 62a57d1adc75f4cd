"""Vases, cups, bowls, bottles and wine glasses: everything that is turned on a wheel or blown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import artwork
from ..materials import make, printed
from ..turned import lathe, tube, vessel

_VASES: dict[str, list[tuple[float, float]]] = {
    "amphora": [
        (0, 0),
        (0.045, 0),
        (0.05, 0.004),
        (0.075, 0.08),
        (0.1, 0.17),
        (0.085, 0.24),
        (0.045, 0.28),
        (0.04, 0.31),
        (0.055, 0.335),
    ],
    "bottle": [(0, 0), (0.06, 0), (0.085, 0.05), (0.09, 0.1), (0.06, 0.16), (0.027, 0.2), (0.022, 0.28), (0.03, 0.31)],
    "cylinder": [(0, 0), (0.065, 0), (0.067, 0.0), (0.07, 0.01), (0.07, 0.14), (0.07, 0.27), (0.07, 0.28)],
    "sphere": [
        (0, 0),
        (0.05, 0),
        (0.095, 0.05),
        (0.115, 0.11),
        (0.095, 0.175),
        (0.055, 0.205),
        (0.05, 0.215),
        (0.056, 0.23),
    ],
    "flare": [(0, 0), (0.06, 0), (0.06, 0.006), (0.035, 0.05), (0.045, 0.14), (0.08, 0.24), (0.115, 0.3)],
    "waist": [
        (0, 0),
        (0.075, 0),
        (0.088, 0.05),
        (0.07, 0.11),
        (0.05, 0.16),
        (0.065, 0.22),
        (0.085, 0.27),
        (0.088, 0.3),
    ],
    "stack": [
        (0, 0),
        (0.06, 0),
        (0.085, 0.045),
        (0.05, 0.092),
        (0.076, 0.135),
        (0.045, 0.178),
        (0.064, 0.215),
        (0.038, 0.25),
        (0.042, 0.27),
    ],
}
_CUPS: dict[str, list[tuple[float, float]]] = {
    "straight": [(0, 0), (0.038, 0), (0.041, 0.004), (0.041, 0.05), (0.041, 0.095)],
    "tulip": [(0, 0), (0.026, 0), (0.028, 0.003), (0.041, 0.03), (0.043, 0.06), (0.047, 0.085)],
    "round": [(0, 0), (0.03, 0), (0.046, 0.02), (0.05, 0.045), (0.046, 0.07), (0.042, 0.084)],
    "cone": [(0, 0), (0.03, 0), (0.031, 0.003), (0.037, 0.05), (0.046, 0.1)],
    "wide": [(0, 0), (0.026, 0), (0.029, 0.002), (0.048, 0.022), (0.056, 0.045), (0.06, 0.062)],
}
_BOWLS: dict[str, list[tuple[float, float]]] = {
    "round": [(0, 0), (0.045, 0), (0.047, 0.008), (0.085, 0.03), (0.115, 0.065), (0.125, 0.1)],
    "wide": [(0, 0), (0.06, 0), (0.062, 0.006), (0.11, 0.02), (0.15, 0.045), (0.17, 0.075)],
    "deep": [(0, 0), (0.05, 0), (0.052, 0.006), (0.085, 0.03), (0.098, 0.07), (0.1, 0.12)],
    "foot": [(0, 0), (0.06, 0), (0.055, 0.02), (0.05, 0.03), (0.095, 0.055), (0.125, 0.09), (0.135, 0.12)],
    "cone": [(0, 0), (0.04, 0), (0.042, 0.008), (0.09, 0.055), (0.14, 0.105)],
}
_BOTTLES: dict[str, list[tuple[float, float]]] = {
    "wine": [
        (0, 0.004),
        (0.034, 0),
        (0.0375, 0.006),
        (0.0375, 0.1),
        (0.0375, 0.185),
        (0.03, 0.215),
        (0.0145, 0.24),
        (0.0135, 0.29),
        (0.0135, 0.31),
    ],
    "burgundy": [
        (0, 0.004),
        (0.038, 0),
        (0.042, 0.008),
        (0.042, 0.13),
        (0.039, 0.16),
        (0.022, 0.21),
        (0.0145, 0.25),
        (0.0135, 0.3),
    ],
    "beer": [
        (0, 0.003),
        (0.028, 0),
        (0.0305, 0.005),
        (0.0305, 0.12),
        (0.027, 0.145),
        (0.0155, 0.175),
        (0.013, 0.21),
        (0.013, 0.228),
    ],
    "soda": [
        (0, 0.003),
        (0.027, 0),
        (0.031, 0.01),
        (0.029, 0.055),
        (0.025, 0.085),
        (0.03, 0.12),
        (0.028, 0.14),
        (0.0145, 0.18),
        (0.0125, 0.21),
        (0.0125, 0.23),
    ],
    "square": [
        (0, 0.004),
        (0.044, 0),
        (0.047, 0.006),
        (0.047, 0.09),
        (0.046, 0.13),
        (0.02, 0.155),
        (0.015, 0.165),
        (0.015, 0.195),
    ],
    "flask": [
        (0, 0.003),
        (0.034, 0),
        (0.036, 0.006),
        (0.036, 0.11),
        (0.036, 0.19),
        (0.033, 0.205),
        (0.022, 0.215),
        (0.021, 0.22),
    ],
    "sauce": [
        (0, 0.003),
        (0.03, 0),
        (0.034, 0.01),
        (0.034, 0.07),
        (0.033, 0.11),
        (0.017, 0.15),
        (0.0125, 0.17),
        (0.012, 0.185),
    ],
}
_GLASSES: dict[str, list[tuple[float, float]]] = {
    "goblet": [(0.004, 0.095), (0.02, 0.1), (0.042, 0.125), (0.048, 0.155), (0.044, 0.19), (0.036, 0.22)],
    "flute": [(0.004, 0.095), (0.012, 0.105), (0.022, 0.135), (0.026, 0.18), (0.025, 0.215), (0.022, 0.24)],
    "coupe": [(0.004, 0.1), (0.02, 0.105), (0.045, 0.122), (0.055, 0.142), (0.057, 0.158)],
    "tulip": [(0.004, 0.085), (0.018, 0.09), (0.034, 0.11), (0.038, 0.135), (0.032, 0.17), (0.034, 0.19)],
    "burgundy": [(0.004, 0.09), (0.028, 0.096), (0.054, 0.125), (0.056, 0.15), (0.045, 0.185), (0.038, 0.205)],
}


def vase(look: Mapping[str, Any]) -> list[Any]:
    """A vase of `form`, scaled by `size`."""
    size = look.get("size", 1.0)
    profile = [(r * size, z * size) for r, z in _VASES[look["form"]]]
    return vessel(profile, 0.006, make(look["glaze"]), make(look.get("inside", look["glaze"])))


def cup(look: Mapping[str, Any]) -> list[Any]:
    """A mug of `form` with a handle to the right; `saucer` puts it on one."""
    outside, inside = make(look["glaze"]), make(look.get("inside", look["glaze"]))
    profile = _CUPS[look["form"]]
    lift = 0.008 if look.get("saucer") else 0.0
    raised = [(r, z + lift) for r, z in profile]
    parts = vessel(raised, 0.0035, outside, inside, floor=0.006 + lift)
    top = profile[-1][1]
    wall = [(max(r for r, z in profile if abs(z - q) < top * 0.45), q + lift) for q in (0.82 * top, 0.2 * top)]
    handle = make(look.get("handle", look["glaze"]))
    (r1, z1), (r0, z0) = (wall[0][0] - 0.003, wall[0][1]), (wall[1][0] - 0.006, wall[1][1])
    reach = look.get("reach", 0.03)
    path = [
        (r1 - 0.004, 0, z1),
        (r1 + reach * 0.7, 0, z1 + 0.004),
        (r1 + reach, 0, (z1 + z0) / 2 + 0.008),
        (r0 + reach * 0.75, 0, z0 - 0.002),
        (r0 - 0.004, 0, z0),
    ]
    parts.append(tube(path, 0.0048, handle, steps=10))
    if look.get("saucer"):
        parts += vessel(
            [(0, 0), (0.04, 0), (0.042, 0.002), (0.065, 0.01), (0.082, 0.017)], 0.003, outside, outside, floor=0.004
        )
    fill = look.get("fill")
    if fill is not None:
        level = top * 0.86 + lift
        radius = max(r for r, z in profile if z <= top * 0.9) - 0.0035
        parts.append(lathe([(radius, level), (0, level)], make(fill), steps=1))
    return parts


def bowl(look: Mapping[str, Any]) -> list[Any]:
    """A bowl of `form`, scaled by `size`."""
    size = look.get("size", 1.0)
    profile = [(r * size, z * size) for r, z in _BOWLS[look["form"]]]
    floor = 0.034 * size if look["form"] == "foot" else 0.006
    return vessel(profile, 0.005, make(look["glaze"]), make(look.get("inside", look["glaze"])), floor)


def bottle(look: Mapping[str, Any]) -> list[Any]:
    """A closed bottle of `form` with a wrapped label (`label` colours, `words`) and a `cap`."""
    profile = _BOTTLES[look["form"]]
    parts = [lathe([*profile, (profile[-1][0], profile[-1][1]), (0, profile[-1][1])], make(look["body"]))]
    if "label" in look:
        title, line = look["words"]
        radius = max(r for r, _ in profile) + 0.0004
        low, high = look["span"]
        paper = printed(artwork.label(look["label"], title, line, look.get("motif", "sun")), 0.55)
        parts.append(lathe([(radius, low), (radius, high)], paper, steps=1))
    neck, top = profile[-1]
    cap, tall = make(look["cap"]), look.get("cap_height", 0.03)
    edge = neck + 0.0016
    parts.append(
        lathe(
            [(edge, top - tall), (edge, top - tall), (edge, top), (edge, top + 0.003), (0, top + 0.003)], cap, steps=2
        )
    )
    return parts


def wine_glass(look: Mapping[str, Any]) -> list[Any]:
    """A stemmed glass of `form`; `stem` tints stem and foot, `fill` pours up to half."""
    glass, stem = make(look["glass"]), make(look.get("stem", look["glass"]))
    bowl_line = _GLASSES[look["form"]]
    low = bowl_line[0][1]
    top_r, top_z = bowl_line[-1]
    inner = [(max(r - 0.0013, 0.0), z + 0.0012) for r, z in reversed(bowl_line)]
    parts = [lathe([*bowl_line, (top_r - 0.0006, top_z + 0.0008), *inner, (0, low + 0.004)], glass)]
    foot = [
        (0, 0.0),
        (0.036, 0),
        (0.037, 0.0018),
        (0.02, 0.004),
        (0.0045, 0.012),
        (0.0035, 0.05),
        (0.0042, low - 0.002),
        (0.006, low + 0.002),
    ]
    parts.append(lathe(foot, stem))
    if "rim" in look:
        ring = [(top_r * math.cos(a), top_r * math.sin(a), top_z) for a in (k * math.pi / 24 for k in range(49))]
        parts.append(tube(ring, 0.0011, make(look["rim"]), steps=1, sides=8))
    if "fill" in look:
        level = low + (top_z - low) * look.get("level", 0.48)
        wet = [(max(r - 0.0016, 0.0), z + 0.0016) for r, z in bowl_line if z < level]
        edge = wet[-1][0]
        parts.append(lathe([(0, low + 0.005), *wet, (edge, level), (edge, level), (0, level)], make(look["fill"])))
    return parts
