"""GTINs: the numbers of articles by which barcodes, QR codes and catalogs are compared.

Rule: a GTIN is a number, so that the forms with 8, 12, 13 and 14 digits are one value, as leading zeros make them
(GS1 General Specifications, section 3.3), and only a number whose check digit is right is a GTIN.
"""

import re

SEPARATORS = "[ \t\r\n\u00a0\u2010-\u2015-]"
"""A character that people write between the groups of digits; a regular expression of Python and of Arrow."""
DIGITS = "^[0-9]{8,14}$"
"""The digits of a GTIN. Nine to eleven are those of a form whose leading zeros a spreadsheet has dropped."""

_SEPARATORS = re.compile(SEPARATORS)
_DIGITS = re.compile(DIGITS)


def to_gtin(text: str) -> int:
    """The GTIN that `text` is, separators left out; 0 where it is none."""
    digits = _SEPARATORS.sub("", text)
    if not _DIGITS.match(digits):
        return 0
    return int(digits) if has_check_digit(digits) else 0


def has_check_digit(digits: str) -> bool:
    """Returns whether the last of `digits` checks the others: weights 3 and 1 from the right, a sum modulo 10."""
    weighted = (int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(weighted) % 10 == 0
