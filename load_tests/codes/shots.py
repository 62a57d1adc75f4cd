"""The fifty photos of codes that a release is measured with: formats, sizes and angles in turn, from one seed."""

import random
from collections.abc import Iterator

from load_tests.codes.rendering import CodeShot

DIGITS = {"EAN-13": 13, "UPC-A": 12, "EAN-8": 8, "ITF-14": 14, "QR": 14}
"""The digits of the number in a code of each format."""
LINKS = ("https://id.gs1.org/01/{}/10/LOT7", "(01){}(17)271231", "{}")
"""The texts of QR codes with a GTIN: GS1 Digital Link, element string, the number alone."""
ASKED = ("EAN-13", "UPC-A", "EAN-8", "QR")
ANGLES = (0, 12, 30, 45, 63, 90, 117, 135, 180, 245, 270, 315)
MODULES = (2.5, 3.0, 4.0, 5.0, 6.0)
"""Pixels of the narrowest bar in a photo of 1600 x 1200: a label across a sixth of the photo to a half of it."""


def gtin(random: random.Random, digits: int) -> str:
    """A number of `digits` digits with its check digit."""
    body = "".join([random.choice("123456789"), *(random.choice("0123456789") for _ in range(digits - 2))])
    weights = (int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body)))
    return f"{body}{-sum(weights) % 10}"


def shots(count: int = 50, formats: tuple[str, ...] = ASKED, seed: int = 1) -> Iterator[tuple[CodeShot, int]]:
    """Codes with the GTIN in each."""
    chance = random.Random(seed)
    for number in range(count):
        format = formats[number % len(formats)]
        digits = gtin(chance, DIGITS[format])
        text = LINKS[number // len(formats) % len(LINKS)].format(digits) if format == "QR" else digits
        module = MODULES[number // 4 % len(MODULES)]
        angle = ANGLES[(number * 5 + number // 7) % len(ANGLES)]
        yield (
            CodeShot(format, text, module, angle, 0.45 + chance.random() / 10, 0.45 + chance.random() / 10),
            int(digits),
        )
