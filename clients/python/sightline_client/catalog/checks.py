"""The values that a caller gives for products -> values that the contract can carry.

Rule: only what can never be right is refused here, by a `FieldError` that names the field as the contract does: wrong
types, texts that UTF-8 cannot hold, no id, no image, an amount below 0. Everything else is the server's to decide.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from sightline_client import values
from sightline_client.catalog.products import Embedding, Price, ProductImage
from sightline_client.filter_checks import FieldError
from sightline_client.photo import encoded

CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
NOT_NUMBERS = (str, bytes, bytearray, Mapping)


def named(field: str, check: Callable[[object], Any], value: object) -> Any:
    """The value as `check` returns it. Raises `FieldError` for its `ValueError`."""
    try:
        return check(value)
    except ValueError as error:
        raise FieldError(field, str(error)) from None


def required_text(value: object) -> str:
    """A text that is not empty. Raises `ValueError`."""
    text = values.text(value)
    if not text:
        raise ValueError("must not be empty")
    return text


def path_part(value: object) -> str:
    """A text that can be one part of a resource name. Raises `ValueError`."""
    text = required_text(value)
    if "/" in text:
        raise ValueError(f"must not have a slash, not {values.quoted(text)}")
    return text


def price(value: object) -> Price | None:
    """A price, or None for none. Raises `FieldError`."""
    if value is None:
        return None
    if not isinstance(value, Price):
        raise FieldError("price", f"must be a Price or None, not {values.quoted(value)}")
    currency = named("price.currency", values.text, value.currency)
    if not CURRENCY.fullmatch(currency):
        problem = f"must be a code of ISO 4217 such as 'USD', not {values.quoted(currency)}"
        raise FieldError("price.currency", problem)
    return Price(named("price.amount", amount, value.amount), currency)


def amount(value: object) -> Decimal:
    """An exact amount from 0 on. Raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"must be a Decimal such as Decimal('15.00'), not {values.quoted(value)}")
    number = Decimal(value)
    if not number.is_finite() or number < 0:
        raise ValueError(f"must be 0 or more, not {number}")
    return number


def attributes(value: object) -> dict[str, str]:
    """Texts by the names of the attributes. Raises `FieldError`."""
    if not isinstance(value, Mapping):
        raise FieldError("attributes", f"must be a mapping of str to str, not {values.quoted(value)}")
    return {
        named("attributes", values.text, name): named(f"attributes[{values.quoted(name)}]", values.text, text)
        for name, text in value.items()
    }


def images(value: object, max_bytes: int) -> list[ProductImage]:
    """The images of a product, at least one, each with its content as `bytes` or as a checked embedding.

    Raises `FieldError`, and `PhotoTooLargeError` for an image above `max_bytes`.
    """
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping) or not isinstance(value, Sequence):
        raise FieldError("images", f"must be a sequence of ProductImage or of bytes, not {values.quoted(value)}")
    if not value:
        raise FieldError("images", "must have at least one image")
    return [image(f"images[{place}]", each, max_bytes) for place, each in enumerate(value)]


def image(field: str, value: object, max_bytes: int) -> ProductImage:
    """One image. Raises as `images`."""
    given = value if isinstance(value, ProductImage) else ProductImage(value)  # type: ignore[arg-type]
    link = named(f"{field}.link", values.text, given.link)
    if isinstance(given.content, Embedding):
        return ProductImage(embedding(f"{field}.embedding", given.content), link)
    data = encoded(given.content, max_bytes, f"{field}.content", f"{field}.content")
    if not data:
        raise FieldError(f"{field}.content", "must not be empty")
    return ProductImage(data, link)


def embedding(field: str, value: Embedding) -> Embedding:
    """An embedding with its numbers as an array. Raises `FieldError`."""
    name = named(f"{field}.embedder", required_text, value.embedder)
    return Embedding(name, named(f"{field}.values", numbers, value.values))


def numbers(value: object) -> "array[float]":
    """Finite numbers that are not all 0. Raises `ValueError`."""
    if isinstance(value, NOT_NUMBERS) or not isinstance(value, Iterable):
        raise ValueError(f"must be a sequence of numbers, not {values.quoted(value)}")
    try:
        found = array("f", value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("must be a sequence of numbers, one for each dimension") from None
    if not all(map(isfinite, found)):
        raise ValueError("must be finite numbers")
    if not any(found):
        raise ValueError("must not be empty or all 0")
    return found


def timeout_s(value: object) -> float:
    """Seconds above 0; infinity for no limit. Raises `FieldError`."""
    seconds: float = named("timeout_s", values.timeout, value)
    return seconds


def flag(value: object) -> bool:
    """True or False. Raises `ValueError`."""
    if not isinstance(value, bool):
        raise ValueError(f"must be True or False, not {values.quoted(value)}")
    return value


def request_id(value: object) -> str:
    """A request id of up to 128 printable ASCII characters, or an empty text. Raises `ValueError`."""
    text = values.text(value)
    if len(text) > 128 or not text.isascii() or not (text.isprintable() or not text):
        raise ValueError(f"must be up to 128 printable ASCII characters, not {values.quoted(text)}")
    return text
