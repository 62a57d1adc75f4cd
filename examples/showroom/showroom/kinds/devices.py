"""Laptops, televisions and suitcases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import artwork
from ..finish import Finish
from ..materials import glow, make
from ..mesh import box, quad, rounded, slab
from ..turned import lathe, tube


def laptop(look: Mapping[str, Any]) -> list[Any]:
    """An open laptop 0.33 m wide: `shell` and `keys` finishes, `shows` a screen of artwork.screen."""
    shell, keys = make(look["shell"]), make(look["keys"])
    base = slab(rounded(0.33, 0.23, 0.014), 0.014, shell, 0.003)
    base.rotation_euler = (-math.pi / 2, 0, 0)
    base.location = (0, -0.115, 0.008)
    parts = [base]
    for row in range(5):
        for col in range(13):
            wide = 0.0185
            parts.append(box((wide, 0.0165, 0.003), (-0.132 + col * 0.022, 0.065 - row * 0.0205, 0.0165), keys, 0.0015))
    parts.append(box((0.12, 0.0165, 0.003), (0, -0.0375, 0.0165), keys, 0.0015))
    pad = make(look.get("pad", look["shell"]))
    parts.append(box((0.1, 0.052, 0.001), (0, -0.08, 0.0155), pad, 0.0004))
    lean = math.radians(look.get("lean", 16))
    lid = slab(rounded(0.33, 0.225, 0.012), 0.008, shell, 0.002)
    dark = make(Finish("plastic", look.get("bezel", "#0d0e10")))
    rim = slab(rounded(0.322, 0.217, 0.009), 0.002, dark, 0.0)
    shown = quad((0.304, 0.19), (0, 0, 0), glow(artwork.screen(look["shows"]), strength=0.85))
    for thing, ahead, up in ((lid, 0.0, 0.0), (rim, -0.0042, 0.004), (shown, -0.0056, 0.114)):
        thing.rotation_euler = (-lean, 0, 0)
        thing.location = (
            0,
            0.117 + math.cos(lean) * ahead + math.sin(lean) * up,
            0.016 + math.cos(lean) * up - math.sin(lean) * ahead,
        )
    return [*parts, lid, rim, shown]


def tv(look: Mapping[str, Any]) -> list[Any]:
    """A television `width` m wide: `stand` is feet, pedestal, easel or retro."""
    width = look.get("width", 1.0)
    high = width * 0.575
    body, lift = make(look["body"]), {"feet": 0.07, "pedestal": 0.1, "easel": 0.62, "retro": 0.16}[look["stand"]]
    shown = glow(artwork.screen(look["shows"]), strength=0.8)
    if look["stand"] == "retro":
        return _retro(body, make(look["leg"]), shown, width)
    panel = slab(rounded(width, high, 0.012), 0.035, body, 0.006)
    panel.location = (0, 0, lift)
    dark = quad((width - 0.016, high - 0.016), (0, -0.0182, lift + high / 2), make(Finish("plastic", "#08090b")))
    parts = [panel, dark, quad((width - 0.034, high - 0.036), (0, -0.0188, lift + high / 2 + 0.004), shown)]
    leg = make(look["leg"])
    if look["stand"] == "pedestal":
        parts += [
            box((width * 0.4, 0.24, 0.014), (0, 0, 0.007), leg, 0.006),
            box((0.1, 0.04, lift + 0.04), (0, 0.02, lift / 2), leg, 0.01),
        ]
    elif look["stand"] == "feet":
        for s in (-1, 1):
            parts.append(
                tube(
                    [
                        (s * width * 0.36, -0.12, 0.008),
                        (s * width * 0.33, 0, lift + 0.01),
                        (s * width * 0.36, 0.12, 0.008),
                    ],
                    0.01,
                    leg,
                    steps=3,
                )
            )
    else:
        for x, y in ((-width * 0.36, 0.03), (width * 0.36, 0.03), (0, 0.42)):
            parts.append(tube([(x * 0.6, 0.05, lift + high * 0.6), (x, y, 0)], (0.018, 0.014), leg, steps=1))
        parts.append(box((width * 0.9, 0.04, 0.04), (0, 0.02, lift - 0.01), leg, 0.008))
    return parts


def _retro(body: Any, leg: Any, shown: Any, width: float) -> list[Any]:
    high = width * 0.74
    case = slab(rounded(width, high, 0.05), 0.36, body, 0.02)
    case.location = (0, 0.14, 0.16)
    dark, gold = make(Finish("plastic", "#17181a")), make(Finish("metal", "#c9a45c"))
    mask = slab(rounded(width * 0.74, high * 0.86, 0.06), 0.02, dark, 0.008)
    mask.location = (-width * 0.1, -0.045, 0.16 + high * 0.07)
    parts = [case, mask, quad((width * 0.66, high * 0.74), (-width * 0.1, -0.0565, 0.16 + high / 2), shown)]
    for k in range(2):
        knob = lathe([(0.035, 0), (0.033, 0.025), (0.02, 0.03), (0, 0.03)], gold)
        knob.location, knob.rotation_euler = (width * 0.38, -0.04, 0.16 + high * (0.78 - 0.2 * k)), (math.pi / 2, 0, 0)
        parts.append(knob)
    parts += [
        box((width * 0.14, 0.01, 0.008), (width * 0.38, -0.042, 0.16 + high * (0.14 + 0.05 * k)), gold, 0.002)
        for k in range(5)
    ]
    for s in (-1, 1):
        parts += [
            tube(
                [(s * width * 0.38, y, 0.18), (s * width * 0.44, y + (-0.04 if y < 0.1 else 0.04), 0)],
                (0.02, 0.012),
                leg,
                steps=1,
            )
            for y in (0.03, 0.25)
        ]
        parts.append(tube([(0, 0.14, 0.15 + high), (s * 0.2, 0.14, 0.42 + high)], (0.005, 0.003), gold, steps=1))
    return parts


def suitcase(look: Mapping[str, Any]) -> list[Any]:
    """A suitcase: `form` is ribbed (wheels, pulled-out handle), smooth or trunk (straps, corners)."""
    shell, trim = make(look["shell"]), make(look["trim"])
    w, d, h = look.get("size", (0.42, 0.25, 0.6))
    if look["form"] == "trunk":
        return _trunk(shell, trim, w, d, h)
    lift = 0.05
    body = slab(rounded(w, h, 0.06), d, shell, 0.05)
    body.location = (0, 0, lift)
    parts = [body]
    if look["form"] == "ribbed":
        for k in range(7):
            rib = slab(rounded(0.022, h - 0.09, 0.01), d + 0.012, shell, 0.005)
            rib.location = (-w / 2 + 0.055 + (w - 0.11) * k / 6, 0, lift + 0.045)
            parts.append(rib)
    seam = slab(rounded(w + 0.006, h + 0.006, 0.062), 0.012, trim, 0.002)
    seam.location = (0, 0, lift - 0.003)
    parts.append(seam)
    for sx in (-1, 1):
        for sy in (-1, 1):
            wheel = lathe([(0, -0.012), (0.024, -0.012), (0.026, 0), (0.024, 0.012), (0, 0.012)], trim, steps=2)
            wheel.location, wheel.rotation_euler = (
                (sx * (w / 2 - 0.05), sy * (d / 2 - 0.05), 0.026),
                (0, math.pi / 2, 0),
            )
            parts.append(wheel)
        parts.append(
            tube(
                [(sx * 0.09, d * 0.28, lift + h - 0.02), (sx * 0.09, d * 0.28, lift + h + look.get("pull", 0.17))],
                0.008,
                make(Finish("metal", "#b9bcc2")),
                steps=1,
            )
        )
    top = lift + h + look.get("pull", 0.17)
    parts.append(box((0.22, 0.03, 0.03), (0, d * 0.28, top), trim, 0.01))
    parts.append(
        tube(
            [
                (-0.07, -0.02, lift + h),
                (-0.055, -0.02, lift + h + 0.035),
                (0.055, -0.02, lift + h + 0.035),
                (0.07, -0.02, lift + h),
            ],
            0.009,
            trim,
        )
    )
    return parts


def _trunk(shell: Any, trim: Any, w: float, d: float, h: float) -> list[Any]:
    brass = make(Finish("metal", "#c8a24a"))
    parts = [box((w, d, h), (0, 0, h / 2), shell, 0.02), box((w + 0.004, 0.016, h + 0.004), (0, 0, h / 2), trim, 0.002)]
    for sx in (-1, 1):
        x = sx * w * 0.28
        parts.append(box((0.034, d + 0.012, h + 0.012), (x, 0, h / 2), trim, 0.004))
        parts.append(box((0.05, 0.012, 0.045), (x, -d / 2 - 0.008, h * 0.72), brass, 0.003))
        corners = ((sx * (w / 2 - 0.028), sy * (d / 2 - 0.028), z) for sy in (-1, 1) for z in (0.03, h - 0.03))
        parts += [box((0.065, 0.065, 0.065), corner, trim, 0.022) for corner in corners]
    parts.append(box((0.05, 0.012, 0.05), (0, -d / 2 - 0.003, h * 0.94), brass, 0.004))
    parts.append(tube([(-0.075, 0, h), (-0.06, 0, h + 0.04), (0.06, 0, h + 0.04), (0.075, 0, h)], 0.011, trim))
    return parts
