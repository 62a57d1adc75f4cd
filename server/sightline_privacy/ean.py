"""An EAN-13 barcode, drawn: the code of the canary photo, of the range that shops number themselves (GS1, 20 to 29)."""

from PIL import Image, ImageDraw

LEFT = ("0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011")
"""The modules of each digit in the left half with odd parity (GS1 General Specifications, set A)."""
PARITIES = (
    *("AAAAAA", "AABABB", "AABBAB", "AABBBA", "ABAABB"),
    *("ABBAAB", "ABBBAA", "ABABAB", "ABABBA", "ABBABA"),
)
"""The sets of the six left digits, by the first digit of the code."""
QUIET = 11
"""Modules of white around the bars."""


def with_check_digit(digits: str) -> str:
    """The 13 digits of a code of which 12 are given."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


def modules(code: str) -> str:
    """The 95 modules of a code of 13 digits, "1" for a bar."""
    right = [LEFT[digit].translate(str.maketrans("01", "10")) for digit in range(10)]
    left = "".join(
        LEFT[int(digit)] if parity == "A" else right[int(digit)][::-1]
        for digit, parity in zip(code[1:7], PARITIES[int(code[0])], strict=True)
    )
    return "101" + left + "01010" + "".join(right[int(digit)] for digit in code[7:]) + "101"


def drawn(code: str, module: int = 2, height: int = 60) -> Image.Image:
    """The barcode as an RGB image; `module` is the width of a module in pixels."""
    bars = modules(code)
    image = Image.new("RGB", ((len(bars) + 2 * QUIET) * module, height + 20), "white")
    draw = ImageDraw.Draw(image)
    for place, bar in enumerate(bars):
        if bar == "1":
            left = (QUIET + place) * module
            draw.rectangle((left, 10, left + module - 1, 10 + height), fill="black")
    return image
