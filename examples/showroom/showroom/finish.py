"""How the catalogue names a surface, without Blender.

One rule: this module, the catalogue, the photos' plans, the feed and the truth import no `bpy`, so that any Python
can read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finish:
    """A surface: its substance, its main colour and, optionally, a printed or woven pattern."""

    of: str
    color: str = "#cccccc"
    pattern: str = ""
    colors: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    repeat: float = 1.0
    """How often the pattern repeats over the uv square, or over a metre where `boxed`."""
    boxed: bool = False
    around: float = 1.0
    """More repeats along u than along v: keeps a print on a turned pot from stretching."""


def linear(color: str) -> tuple[float, float, float, float]:
    """#rrggbb as scene-linear RGBA."""
    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return r, g, b, 1.0


def tinted(color: str, factor: float) -> str:
    """`color`, darker below 1 and lighter above."""
    rgb = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{max(0, min(255, round(c * factor))):02x}" for c in rgb)
