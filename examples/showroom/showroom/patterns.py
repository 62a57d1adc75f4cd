"""Patterns for textiles and glazes, drawn with Pillow.

One rule: a pattern is a pure function of its arguments; the same arguments give the same pixels on every run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

SIZE = 768
Colors = Sequence[str]


def canvas(color: str, size: tuple[int, int] = (SIZE, SIZE)) -> tuple[Image.Image, Any]:
    """An empty picture of one colour, and the pen for it."""
    image = Image.new("RGB", size, color)
    return image, ImageDraw.Draw(image)


def stripes(colors: Colors, count: int = 8, upright: bool = False) -> Image.Image:
    """Equal stripes, level unless `upright`."""
    image, draw = canvas(colors[0])
    step = SIZE / count
    for i in range(count):
        a, b = i * step, (i + 1) * step
        draw.rectangle((a, 0, b, SIZE) if upright else (0, a, SIZE, b), fill=colors[i % len(colors)])
    return image


def dots(colors: Colors, count: int = 6, size: float = 0.3) -> Image.Image:
    """Dots in offset rows."""
    image, draw = canvas(colors[0])
    step = SIZE / count
    for row in range(count + 1):
        for col in range(-1, count + 1):
            x, y = (col + 0.5 + 0.5 * (row % 2)) * step, (row + 0.5) * step
            r = step * size
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colors[1 + (row + col) % (len(colors) - 1)])
    return image


def checks(colors: Colors, count: int = 8) -> Image.Image:
    """Gingham: crossing half-transparent bands."""
    image, _ = canvas(colors[0])
    step = SIZE / count
    for upright in (True, False):
        band = Image.new("L", (SIZE, SIZE), 0)
        pen = ImageDraw.Draw(band)
        for i in range(0, count, 2):
            a, b = i * step, (i + 1) * step
            pen.rectangle((a, 0, b, SIZE) if upright else (0, a, SIZE, b), fill=150)
        image.paste(Image.new("RGB", (SIZE, SIZE), colors[1]), mask=band)
    return image


def zigzag(colors: Colors, count: int = 8) -> Image.Image:
    """Chevrons."""
    image, draw = canvas(colors[0])
    step, teeth = SIZE / count, 8
    tooth = SIZE / teeth
    for i in range(-2, count + 2):
        points = [(j * tooth / 2, i * step + (step if j % 2 else 0)) for j in range(2 * teeth + 1)]
        low = [(x, y + step) for x, y in reversed(points)]
        draw.polygon(points + low, fill=colors[i % len(colors)])
    return image


def bands(colors: Colors, edges: Sequence[float] = (0.3, 0.6)) -> Image.Image:
    """Broad level bands from the foot up, edges as fractions of the height (a dipped glaze)."""
    image, draw = canvas(colors[0])
    for color, edge in zip(colors[1:], edges, strict=False):
        draw.rectangle((0, 0, SIZE, SIZE * (1 - edge)), fill=color)
    return image.filter(ImageFilter.GaussianBlur(2))


def speckle(colors: Colors, count: int = 500, size: float = 5) -> Image.Image:
    """Terrazzo or stoneware specks."""
    image, draw = canvas(colors[0])
    rng = random.Random(7)
    for _ in range(count):
        x, y, r = rng.random() * SIZE, rng.random() * SIZE, size * rng.uniform(0.4, 1.4)
        angles = sorted(rng.random() * 2 * math.pi for _ in range(6))
        draw.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a in angles], fill=rng.choice(list(colors[1:])))
    return image


def floral(colors: Colors, count: int = 26) -> Image.Image:
    """Five-petal flowers with leaves."""
    image, draw = canvas(colors[0])
    rng = random.Random(11)
    for i in range(count):
        x = (i % 5 + 0.5 + rng.uniform(-0.25, 0.25)) * SIZE / 5
        y = (i // 5 + 0.5 + rng.uniform(-0.25, 0.25)) * SIZE / 5
        r = rng.uniform(22, 34)
        for _ in range(3):
            a = rng.random() * 6.28
            lx, ly = x + 2.1 * r * math.cos(a), y + 2.1 * r * math.sin(a)
            draw.line((x, y, lx, ly), fill=colors[2], width=5)
            draw.ellipse((lx - 11, ly - 7, lx + 11, ly + 7), fill=colors[2])
        for k in range(5):
            px, py = x + r * math.cos(k * 1.257), y + r * math.sin(k * 1.257)
            draw.ellipse((px - r * 0.72, py - r * 0.72, px + r * 0.72, py + r * 0.72), fill=colors[1])
        draw.ellipse((x - r * 0.5, y - r * 0.5, x + r * 0.5, y + r * 0.5), fill=colors[3])
    return image


def stars(colors: Colors, count: int = 6) -> Image.Image:
    """Five-pointed stars in offset rows."""
    image, draw = canvas(colors[0])
    step = SIZE / count
    for row in range(count):
        for col in range(-1, count):
            x, y = (col + 0.5 + 0.5 * (row % 2)) * step, (row + 0.5) * step
            radii = [step * (0.36 if k % 2 == 0 else 0.15) for k in range(10)]
            tips = [(x + r * math.sin(k * math.pi / 5), y - r * math.cos(k * math.pi / 5)) for k, r in enumerate(radii)]
            draw.polygon(tips, fill=colors[1 + (row + col) % (len(colors) - 1)])
    return image


PATTERNS: dict[str, Callable[..., Image.Image]] = {
    "stripes": stripes,
    "dots": dots,
    "checks": checks,
    "zigzag": zigzag,
    "bands": bands,
    "speckle": speckle,
    "floral": floral,
    "stars": stars,
}
