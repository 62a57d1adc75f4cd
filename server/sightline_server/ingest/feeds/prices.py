"""Prices as shops write them -> amount and ISO 4217 code.

Rule: what can be read in one way only is read; what can be read in two ways (`1.234`, `$`) needs an option. Nothing is
guessed, and an unreadable price never costs the product.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from sightline_server.index.schema import Price
from sightline_server.ingest.feeds.currencies import USUAL, WITHOUT_DECIMALS, currencies_of
from sightline_server.ingest.feeds.options import PriceFormat
from sightline_server.ingest.feeds.records import excerpt

MAX_PRICE_CHARS = 64
MAX_WHOLE_DIGITS = 14
MAX_DECIMALS = 4

# Every blank, among them the no-break, thin and narrow ones that separate thousands.
BLANKS = re.compile(r"[\s\u00a0\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff]+")
APOSTROPHES = re.compile("['\u2019\u02bc\u00b4`\u066c]")
# Digits with separators, then what stands for "no decimals": `15.-`, `15,--`, `15.`.
AMOUNT = re.compile(
    "[0-9](?:[0-9.,' ]*[0-9])?(?:[.,](?:[-\u2013\u2014]+|(?![0-9])))?",
)
WHOLE = re.compile(r"[0-9]+")
THOUSANDS = re.compile(r"[0-9]{1,3}(?:[.,' ][0-9]{3})+")
INDIAN = re.compile(r"[0-9]{1,2}(?:[., ][0-9]{2})+[., ][0-9]{3}")


class PriceError(ValueError):
    """A price that cannot be read; its text says why, for the build's report."""


@dataclass(frozen=True, slots=True)
class PriceRules:
    """The rules for an ambiguous price: the decimal sign, and the currency of amounts that have none."""

    price_format: PriceFormat = PriceFormat.AUTO
    currency: str = ""


DEFAULT_RULES = PriceRules()


def parse_price(text: str, rules: PriceRules = DEFAULT_RULES) -> Price:
    """The price of `text`, such as `15.00 USD`, `1.299,00 €` or `US$ 25`. Raises `PriceError`."""
    if len(text) > MAX_PRICE_CHARS:
        raise PriceError(f"the price {excerpt(text)!r} is not an amount and a currency, such as 15.00 USD")
    plain = APOSTROPHES.sub("'", BLANKS.sub(" ", text.strip()))
    amounts = list(AMOUNT.finditer(plain))
    if len(amounts) != 1:
        raise PriceError(f"the price {excerpt(text)!r} is not one amount and a currency, such as 15.00 USD")
    [amount] = amounts
    currency = parse_currency(plain[: amount.start()], plain[amount.end() :], text, rules.currency)
    return Price(parse_amount(amount[0], currency, text, rules.price_format), currency)


def stated_currency(column: str, option: str) -> str:
    """The code that a currency column means, such as `USD`, `€` or `Euro`.

    `option` where the column is empty, or where `option` is one of those that it may mean. Empty where it names no
    currency: the amount then has to say it.
    """
    codes = currencies_of(column.strip())
    if not column or option in codes:
        return option
    return codes[0] if len(codes) == 1 else USUAL.get(column.strip().lower(), "")


def parse_currency(before: str, after: str, text: str, stated: str) -> str:
    """The one currency of the texts before and after the amount."""
    parts = [part.strip() for part in (before, after) if part.strip()]
    tokens = [token for part in parts for token in ([part] if currencies_of(part) else part.split())]
    if not tokens:
        if stated:
            return stated
        raise PriceError(f"the price {excerpt(text)!r} has no currency; write it as 15.00 USD, or use --currency")
    choices = [currencies_of(token) for token in tokens]
    if not all(choices):
        raise PriceError(f"the price {excerpt(text)!r} is not an amount and a currency, such as 15.00 USD")
    common = [code for code in choices[0] if all(code in codes for codes in choices)]
    if len(common) == 1:
        return common[0]
    if stated in common:
        return stated
    usual = USUAL.get(tokens[0].lower())
    if usual in common and usual is not None:
        return usual
    if not common:
        raise PriceError(f"the price {excerpt(text)!r} has two currencies")
    listed = ", ".join(common[:3])
    raise PriceError(f"the currency of {excerpt(text)!r} may be {listed} ...; write its code, or use --currency")


def parse_amount(digits: str, currency: str, text: str, price_format: PriceFormat) -> Decimal:
    """The amount that `digits` with their separators mean."""
    plain = re.sub(r"[.,][-\u2013\u2014]+$", "", digits.strip())
    # `1.299,-` says that there are no decimals, so its point separates thousands.
    no_decimals = plain != digits.strip()
    plain = re.sub(r"[.,]$", "", plain)
    whole, decimals = (plain, "") if no_decimals else split_decimals(plain, currency, text, price_format)
    if not (WHOLE.fullmatch(whole) or grouped(whole)):
        raise PriceError(f"the amount of {excerpt(text)!r} has its separators in unusual positions")
    number = re.sub("[^0-9]", "", whole).lstrip("0") or "0"
    if len(number) > MAX_WHOLE_DIGITS or len(decimals.rstrip("0")) > MAX_DECIMALS:
        limits = f"{MAX_WHOLE_DIGITS} digits and {MAX_DECIMALS} decimals"
        raise PriceError(f"the price {excerpt(text)!r} is out of range; at most {limits} are kept")
    decimals = decimals[:MAX_DECIMALS]
    return Decimal(f"{number}.{decimals}" if decimals else number)


def grouped(whole: str) -> bool:
    """Returns whether `whole` has one kind of separator, at thousands or at the positions of Indian numbers."""
    if len(set(re.sub("[0-9]", "", whole))) != 1:
        return False
    return THOUSANDS.fullmatch(whole) is not None or INDIAN.fullmatch(whole) is not None


def split_decimals(digits: str, currency: str, text: str, price_format: PriceFormat) -> tuple[str, str]:
    """The digits in front of the decimal sign, with separators, and those behind it."""
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return digits, ""
    sign, whole, rest = digits[last], digits[:last], digits[last + 1 :]
    if not WHOLE.fullmatch(rest):
        return digits, ""
    if sign in whole:
        # The sign occurs twice: it separates thousands, and there are no decimals.
        return digits, ""
    if not WHOLE.fullmatch(whole):
        return whole, rest
    could_be_thousands = len(rest) == 3 and len(whole) <= 3 and not whole.startswith("0")
    if not could_be_thousands:
        return whole, rest
    if currency in WITHOUT_DECIMALS:
        return digits, ""
    if price_format is PriceFormat.AUTO:
        raise PriceError(f"the amount of {excerpt(text)!r} can be read in two ways; use --price-format point or comma")
    decimal_sign = "." if price_format is PriceFormat.POINT else ","
    return (whole, rest) if sign == decimal_sign else (digits, "")
