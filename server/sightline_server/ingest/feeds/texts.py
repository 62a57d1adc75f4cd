"""Values of a record -> texts, as the feed's text form writes them."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from sightline_server.ingest.feeds.records import BAD_CHARACTER

# Lone surrogates come from JSON escapes such as "\\ud800"; no UTF-8 text can hold them.
BAD_CHARACTERS = re.compile(f"[\ud800-\udfff{BAD_CHARACTER}]")
MICROS = Decimal(1_000_000)


def as_text(value: object) -> str:
    """A value as the feed's text form writes it; absent values are empty. Raises `ValueError` for infinite numbers."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bytes):
        return value.decode("utf-8").strip()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(text for item in value if (text := as_text(item)))
    if isinstance(value, Mapping):
        return money_text(value) or json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def float_text(value: float) -> str:
    """A number; a whole one without decimals, because a column of gtins with a gap becomes floats in many tools."""
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return str(int(value)) if value.is_integer() else str(value)


def first_text(value: object) -> str:
    """The text of a value, or of its first element that has one."""
    if isinstance(value, list | tuple):
        return next((text for item in value if (text := as_text(item))), "")
    return as_text(value)


def money_text(value: Mapping[str, object]) -> str:
    """`12.50 EUR` of the amounts in Google's APIs (`value` or `amountMicros`, and a currency); empty for others."""
    names = {str(name): inner for name, inner in value.items()}
    micros = names.get("amountMicros", names.get("amount_micros"))
    currency = next((names[name] for name in ("currencyCode", "currency", "currency_code") if name in names), None)
    amount = names.get("value", names.get("amount"))
    if micros is not None and re.fullmatch(r"[0-9]{1,18}", as_text(micros)):
        amount = f"{Decimal(as_text(micros)) / MICROS:f}"
    if not isinstance(currency, str) or amount is None or isinstance(amount, dict | list):
        return ""
    return f"{as_text(amount)} {currency.strip()}"


def is_readable(text: str) -> bool:
    """Returns whether `text` consists of characters that its encoding allowed."""
    return BAD_CHARACTERS.search(text) is None
