"""JSON feeds -> records: JSON lines, arrays, and the list answers of Google's product APIs.

Rule: JSON lines are read line by line, and a broken line costs one row. A document (an array, or an object that holds
one) is read object by object; where it is not valid JSON its further objects cannot be told apart, so it is refused.
"""

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from sightline_server.ingest.feeds.columns import canonical_names, column_name, gathered
from sightline_server.ingest.feeds.json_document import HOLDER, read_document
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.records import Record, guarded, refused
from sightline_server.ingest.feeds.rows import TOO_LONG
from sightline_server.ingest.feeds.text import lines_of, opened_text, release

ATTRIBUTES = ("product_attributes", "attributes")
ARRAY = re.compile(r"\s*\[\s*(?:\{|\]|\Z)")
HEAD_CHARS = 64 * 1024
MAX_DIGITS = 100
OUT_OF_RANGE = "holds a number out of range"
NO_OBJECT = "is not a JSON object"


def read_json(file: BinaryIO, name: str, options: FeedOptions) -> Iterator[Record]:
    """The records of a JSON feed. Raises `SightlineError` where a document is not valid JSON."""
    text = opened_text(file, options.encoding)
    head = text.read(HEAD_CHARS)
    text.detach()
    text = opened_text(file, options.encoding)
    try:
        if is_document(head):
            for number, element in read_document(text, name):
                record = guarded_record(number, 0, element) if element else Record(number, {}, TOO_LONG)
                if record.fault == NO_OBJECT:
                    raise refused(f"{name} is not valid JSON: object {number} is malformed")
                yield record
            return
        for line in lines_of(text):
            if line.too_long:
                yield Record(line.number, {}, TOO_LONG, line.number)
            elif line.text.strip():
                yield guarded_record(line.number, line.number, line.text)
    finally:
        release(text)


def is_document(head: str) -> bool:
    """Returns whether a feed that begins with `head` is one JSON document and not JSON lines."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", head) if line.strip()][:2]
    if not lines:
        return False
    if ARRAY.match(head) and not (lines[0].endswith("]") and len(lines) > 1):
        return True
    if not lines[0].startswith("{"):
        return False
    if HOLDER.match(head):
        return True
    return not lines[0].endswith("}") and len(lines) > 1 and not lines[1].startswith("{")


def guarded_record(number: int, line: int, text: str) -> Record:
    """The record of one JSON object, whatever it holds."""
    return guarded(number, line, lambda: to_record(number, line, text))


def to_record(number: int, line: int, text: str) -> Record:
    """The record of one JSON object."""
    try:
        values = json.loads(
            text, object_pairs_hook=distinct, parse_float=finite, parse_int=whole, parse_constant=constant
        )
    except RecursionError:
        return Record(number, {}, "is nested too deeply", line)
    except ValueError as error:
        reason = error.args[0] if isinstance(error, JsonRuleError) else NO_OBJECT
        return Record(number, {}, reason, line)
    if not isinstance(values, dict):
        return Record(number, {}, NO_OBJECT, line)
    return Record(number, named(values), line=line)


class JsonRuleError(ValueError):
    """Valid JSON that no product can be read from; its text says why."""


def distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of `pairs`. Raises `JsonRuleError` on a doubled name: two objects may have run into one."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise JsonRuleError("has one name twice in an object")
    return values


def whole(digits: str) -> int:
    """The integer of `digits`. Raises `JsonRuleError` where it has more than `MAX_DIGITS` of them."""
    if len(digits) > MAX_DIGITS:
        raise JsonRuleError(OUT_OF_RANGE)
    return int(digits)


def finite(digits: str) -> float:
    """The number of `digits`. Raises `JsonRuleError` beyond the range of a 64-bit float, such as 1e999."""
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise JsonRuleError(OUT_OF_RANGE)
    return value


def constant(name: str) -> None:
    """None for NaN, which many tools write for an absent value. Raises `JsonRuleError` for the infinite ones."""
    if name != "NaN":
        raise JsonRuleError(OUT_OF_RANGE)


def named(values: dict[str, object]) -> dict[str, object]:
    """The values of an object by Merchant Center names, with those that Google's Merchant API nests."""
    product = values.get("product")
    if isinstance(product, dict) and not values.keys() & {"id", "offerId"}:
        # An entry of a batch request of the Content API.
        values = product
    pairs = [(column_name(name), value) for name, value in without_variants(values).items()]
    if any(name in ("offer_id", "product_attributes") for name, _ in pairs):
        pairs = [pair for name, value in pairs for pair in flattened(name, value)]
    names = canonical_names([name for name, _ in pairs])
    return gathered((name, value) for name, (_, value) in zip(names, pairs, strict=True))


def without_variants(values: dict[str, object]) -> dict[str, object]:
    """A product of Shopify (`products.json`, Admin API) with the price and the barcode of its first variant.

    The variants themselves, up to 2,048 objects, would make the row too large.
    """
    variants = values.get("variants")
    if "handle" not in values or not isinstance(variants, list) or not all(isinstance(one, dict) for one in variants):
        return values
    first = variants[0] if variants else {}
    taken = {name: first[name] for name in ("price", "barcode") if first.get(name)}
    return {**taken, **{name: value for name, value in values.items() if name != "variants"}}


def flattened(name: str, value: object) -> list[tuple[str, object]]:
    """The pairs within `attributes` or `productAttributes`; any other pair as it is."""
    if name in ATTRIBUTES and isinstance(value, dict):
        return [(column_name(inner), text) for inner, text in value.items()]
    return [(name, value)]
