"""Pictures on things: bottle labels, clock faces, screens, prints for the wall, the garden behind a window.

One rule: as in `patterns`, the same arguments give the same pixels on every run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .patterns import Colors, canvas


def label(colors: Colors, title: str, line: str = "", motif: str = "sun") -> Image.Image:
    """A bottle label that goes once round: the title stands at the front, u = 0.75."""
    image, draw = canvas(colors[0], (2048, 768))
    ink = colors[1]
    for offset in (0, 1024):
        middle = 512 + offset
        draw.rectangle((middle - 470, 30, middle + 470, 738), outline=ink, width=10)
        _motif(draw, motif, middle, 210, 110, colors[2])
        fits = next(s for s in range(150, 20, -6) if draw.textlength(title, font=ImageFont.load_default(s)) <= 860)
        draw.text((middle, 470), title, fill=ink, font=ImageFont.load_default(fits), anchor="mm")
        draw.text((middle, 630), line, fill=ink, font=ImageFont.load_default(72), anchor="mm")
    return image


def _motif(draw: Any, motif: str, x: float, y: float, r: float, color: str) -> None:
    if motif == "sun":
        draw.ellipse((x - r * 0.6, y - r * 0.6, x + r * 0.6, y + r * 0.6), fill=color)
        for k in range(12):
            a = k * math.pi / 6
            draw.line(
                (x + r * 0.7 * math.cos(a), y + r * 0.7 * math.sin(a), x + r * math.cos(a), y + r * math.sin(a)),
                fill=color,
                width=14,
            )
    elif motif == "leaf":
        draw.ellipse((x - r, y - r * 0.45, x + r, y + r * 0.45), fill=color)
        draw.line((x - r * 1.3, y, x + r, y), fill="#ffffff", width=8)
    elif motif == "hill":
        draw.polygon(
            [
                (x - r * 1.6, y + r),
                (x - r * 0.5, y - r),
                (x + r * 0.3, y + r * 0.3),
                (x + r * 0.8, y - r * 0.3),
                (x + r * 1.6, y + r),
            ],
            fill=color,
        )
    else:
        draw.polygon([(x, y - r), (x + r * 0.75, y), (x, y + r), (x - r * 0.75, y)], fill=color)


def dial(colors: Colors, style: str = "digits") -> Image.Image:
    """A clock face without hands: paper, ink and accent colours."""
    image, draw = canvas(colors[0], (1024, 1024))
    ink, accent = colors[1], colors[2]
    roman = ["XII", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI"]
    for i in range(60):
        a = i * math.pi / 30
        hour = i % 5 == 0
        inner = 420 if hour else 450
        if style in ("ticks", "digits", "roman") or hour:
            draw.line(
                (
                    512 + inner * math.sin(a),
                    512 - inner * math.cos(a),
                    512 + 475 * math.sin(a),
                    512 - 475 * math.cos(a),
                ),
                fill=ink,
                width=16 if hour else 5,
            )
    for h in range(12):
        a = h * math.pi / 6
        x, y = 512 + 345 * math.sin(a), 512 - 345 * math.cos(a)
        if style == "digits":
            draw.text((x, y), str(h or 12), fill=ink, font=ImageFont.load_default(118), anchor="mm")
        elif style == "roman":
            draw.text((x, y), roman[h], fill=ink, font=ImageFont.load_default(92), anchor="mm")
        elif style == "dots":
            draw.ellipse((x - 34, y - 34, x + 34, y + 34), fill=accent if h % 3 == 0 else ink)
    return image


def screen(scene: str) -> Image.Image:
    """What a laptop or television shows: hills, sea, chart, code, aurora, shapes or city."""
    image, draw = canvas("#101418", (1280, 800))
    _SCREENS[scene](image, draw, random.Random(scene))
    return image


def _sky(draw: Any, top: tuple[int, int, int], low: tuple[int, int, int]) -> None:
    for y in range(800):
        t = y / 800
        draw.line((0, y, 1280, y), fill=tuple(round(a + (b - a) * t) for a, b in zip(top, low, strict=True)))


def _hills(image: Image.Image, draw: Any, rng: random.Random) -> None:
    _sky(draw, (58, 110, 190), (255, 214, 150))
    draw.ellipse((820, 230, 960, 370), fill="#fff3c4")
    for k, color in enumerate(("#7d8fb8", "#5d7a8f", "#3f6b5c", "#274d3a")):
        points = [
            (x, 420 + 90 * k + 70 * math.sin(x / (170 + 35 * k) + 2 * k) + 25 * math.sin(x / 61 + k))
            for x in range(0, 1281, 16)
        ]
        draw.polygon([(0, 800), *points, (1280, 800)], fill=color)


def _sea(image: Image.Image, draw: Any, rng: random.Random) -> None:
    _sky(draw, (80, 190, 235), (225, 248, 255))
    draw.rectangle((0, 400, 1280, 620), fill="#1488b0")
    for _ in range(160):
        x, y = rng.random() * 1280, rng.uniform(405, 615)
        draw.line((x, y, x + rng.uniform(20, 90), y), fill="#54b9d6", width=3)
    draw.polygon([(0, 800), (0, 640), (420, 600), (1280, 680), (1280, 800)], fill="#f0d9a4")
    draw.polygon([(760, 400), (760, 220), (880, 400)], fill="#ffffff")
    draw.polygon([(745, 400), (745, 260), (680, 400)], fill="#f4694b")
    draw.polygon([(660, 410), (900, 410), (860, 450), (700, 450)], fill="#7a3b22")


def _chart(image: Image.Image, draw: Any, rng: random.Random) -> None:
    draw.rectangle((0, 0, 1280, 800), fill="#f4f6fa")
    draw.rectangle((0, 0, 1280, 70), fill="#2b59c3")
    draw.rectangle((0, 70, 240, 800), fill="#e2e8f2")
    for i in range(9):
        h = rng.uniform(120, 430)
        draw.rectangle((300 + i * 62, 680 - h, 344 + i * 62, 680), fill="#3d7dea" if i % 2 else "#ff9b3d")
    draw.pieslice((920, 180, 1200, 460), 0, 130, fill="#ff9b3d")
    draw.pieslice((920, 180, 1200, 460), 130, 260, fill="#3d7dea")
    draw.pieslice((920, 180, 1200, 460), 260, 360, fill="#34b38a")
    for i in range(6):
        draw.rectangle((920, 520 + i * 34, 1100 + 20 * (i % 3), 536 + i * 34), fill="#aab5c8")


def _code(image: Image.Image, draw: Any, rng: random.Random) -> None:
    draw.rectangle((0, 0, 1280, 800), fill="#14161f")
    draw.rectangle((0, 0, 180, 800), fill="#1d2130")
    for row in range(24):
        x = 220.0 + 44 * rng.choice((0, 1, 1, 2, 3))
        for _ in range(rng.randint(1, 5)):
            width = rng.uniform(40, 190)
            draw.rounded_rectangle(
                (x, 30 + row * 32, x + width, 46 + row * 32),
                6,
                fill=rng.choice(("#7aa2f7", "#9ece6a", "#f7768e", "#e0af68", "#c0caf5")),
            )
            x += width + 18


def _aurora(image: Image.Image, draw: Any, rng: random.Random) -> None:
    _sky(draw, (10, 6, 40), (60, 20, 90))
    for k, color in enumerate(("#19f0b0", "#2bd3f0", "#b455f5")):
        points = [(x, 230 + 110 * k + 120 * math.sin(x / 210 + 1.6 * k)) for x in range(0, 1281, 16)]
        draw.line(points, fill=color, width=90)
    image.paste(image.filter(ImageFilter.GaussianBlur(45)))
    pen = ImageDraw.Draw(image)
    pen.polygon([(0, 800), (0, 640), (300, 520), (620, 700), (900, 560), (1280, 720), (1280, 800)], fill="#080814")


def _shapes(image: Image.Image, draw: Any, rng: random.Random) -> None:
    draw.rectangle((0, 0, 1280, 800), fill="#f6c445")
    draw.ellipse((-160, 260, 560, 980), fill="#e4572e")
    draw.polygon([(640, 0), (1280, 0), (1280, 640)], fill="#17bebb")
    draw.ellipse((700, 300, 1040, 640), fill="#2e282a")
    draw.rectangle((500, 100, 640, 240), fill="#ffffff")


def _city(image: Image.Image, draw: Any, rng: random.Random) -> None:
    _sky(draw, (24, 20, 60), (240, 110, 90))
    x = 0.0
    while x < 1280:
        width, height = rng.uniform(60, 130), rng.uniform(180, 560)
        draw.rectangle((x, 800 - height, x + width, 800), fill="#15142b")
        for wy in range(int(820 - height), 790, 34):
            for wx in range(int(x) + 10, int(x + width) - 14, 24):
                if rng.random() < 0.55:
                    draw.rectangle((wx, wy, wx + 11, wy + 16), fill="#ffd67a")
        x += width + 8


def outdoors() -> Image.Image:
    """What lies behind a window: sky, blurred trees, lawn."""
    image, draw = canvas("#bcd8f2", (600, 700))
    rng = random.Random(3)
    for row in range(700):
        draw.line((0, row, 600, row), fill=(200 + row // 14, 222 + row // 24, 246))
    for _ in range(160):
        x, y, r = rng.uniform(0, 600), rng.uniform(380, 620), rng.uniform(20, 60)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=rng.choice(("#6f9a55", "#86ad62", "#587f48", "#9dbd74")))
    draw.rectangle((0, 610, 600, 700), fill="#a9c77e")
    return image.filter(ImageFilter.GaussianBlur(12))


def print_of(motif: str, colors: Colors) -> Image.Image:
    """A print for the wall: arches, hills, leaf or moon on paper."""
    image, draw = canvas(colors[0], (600, 800))
    if motif == "arches":
        for k, color in enumerate(colors[1:]):
            r = 230 - 62 * k
            draw.pieslice((300 - r, 420 - r, 300 + r, 420 + r), 180, 360, fill=color)
            draw.rectangle((300 - r, 420, 300 + r, 700), fill=color)
    elif motif == "hills":
        draw.ellipse((330, 150, 470, 290), fill=colors[1])
        for k, color in enumerate(colors[2:]):
            top = [(x, 430 + 110 * k + 60 * math.sin(x / 120 + 1.7 * k)) for x in range(0, 601, 12)]
            draw.polygon([(0, 800), *top, (600, 800)], fill=color)
    elif motif == "leaf":
        draw.line((300, 720, 300, 140), fill=colors[1], width=9)
        for k in range(9):
            y = 200 + 54 * k
            for s in (-1, 1):
                draw.polygon(
                    [(300, y + 60), (300 + s * 150, y - 40), (300 + s * 190, y - 90), (300 + s * 110, y - 70)],
                    fill=colors[1],
                )
    else:
        draw.ellipse((140, 180, 460, 500), fill=colors[1])
        draw.ellipse((220, 150, 500, 430), fill=colors[0])
        for x, y in ((120, 620), (300, 660), (470, 600), (200, 720), (420, 720)):
            draw.ellipse((x - 12, y - 12, x + 12, y + 12), fill=colors[1])
    return image


_SCREENS: dict[str, Callable[[Image.Image, Any, random.Random], None]] = {
    "hills": _hills,
    "sea": _sea,
    "chart": _chart,
    "code": _code,
    "aurora": _aurora,
    "shapes": _shapes,
    "city": _city,
}
