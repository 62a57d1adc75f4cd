"""`sightline.v1.Filter` <-> the domain's filter and plan.

Rule: a condition that cannot be used is an error that names its field, and never one that is left out. That holds for
conditions of a newer contract as well, which are in the message but not in ours.
"""

import math
import re
from collections.abc import Sequence
from decimal import Decimal

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from sightline.v1 import lens_service_pb2
from sightline_server.domain.filters import AttributeCondition, Filter, FilterPlan, PlanKind, PriceRange
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.refusals import invalid

MAX_VALUES = 100
MAX_IDS = 1000
MAX_PRICES = 20
MAX_ATTRIBUTES = 20
MAX_CHARS = 256
"""The most characters of one text of a filter."""
CURRENCY = re.compile(r"[A-Za-z]{3}")

PLANS = {
    PlanKind.NO_MATCH: lens_service_pb2.FILTER_PLAN_KIND_NO_MATCH,
    PlanKind.ALL: lens_service_pb2.FILTER_PLAN_KIND_ALL,
    PlanKind.GATHER: lens_service_pb2.FILTER_PLAN_KIND_GATHER,
    PlanKind.SELECTOR: lens_service_pb2.FILTER_PLAN_KIND_SELECTOR,
    PlanKind.EXACT: lens_service_pb2.FILTER_PLAN_KIND_EXACT,
}


def to_filter(message: lens_service_pb2.Filter) -> Filter:
    """The checked filter. Raises `SightlineError` that names the field at fault."""
    check_known("filter", message)
    at_most("filter.attributes", len(message.attributes), MAX_ATTRIBUTES)
    return Filter(
        brands=texts("filter.brands", message.brands, MAX_VALUES),
        categories=to_categories("filter.categories", message.categories),
        prices=to_prices(message),
        availabilities=texts("filter.availabilities", message.availabilities, MAX_VALUES),
        attributes=tuple(
            to_attribute(f"filter.attributes[{place}]", each) for place, each in enumerate(message.attributes)
        ),
        product_ids=texts("filter.product_ids", message.product_ids, MAX_IDS),
        item_group_ids=texts("filter.item_group_ids", message.item_group_ids, MAX_IDS),
        excluded_product_ids=texts("filter.excluded_product_ids", message.excluded_product_ids, MAX_IDS),
        excluded_item_group_ids=texts("filter.excluded_item_group_ids", message.excluded_item_group_ids, MAX_IDS),
    )


def to_categories(field: str, values: Sequence[str]) -> tuple[str, ...]:
    """Categories with at least one level: a prefix without levels would be a prefix of every category."""
    for place, value in enumerate(values[:MAX_VALUES]):
        if not value.replace(">", "").strip():
            raise invalid(f"{field}[{place}]", "a category has at least one level, such as Furniture")
    return texts(field, values, MAX_VALUES)


def to_prices(message: lens_service_pb2.Filter) -> tuple[PriceRange, ...]:
    """All price ranges of a filter."""
    at_most("filter.prices", len(message.prices), MAX_PRICES)
    first = [to_price_range("filter.price", message.price)] if message.HasField("price") else []
    further = (to_price_range(f"filter.prices[{place}]", each) for place, each in enumerate(message.prices))
    return (*first, *further)


def to_price_range(field: str, message: lens_service_pb2.PriceRange) -> PriceRange:
    """One price range."""
    check_known(field, message)
    # Checked before its case is changed: letters of other alphabets become ASCII ones.
    currency = message.currency.strip()
    if not CURRENCY.fullmatch(currency):
        raise invalid(f"{field}.currency", "must be an ISO 4217 code of three letters, such as USD")
    minimum = to_bound(f"{field}.minimum", message.minimum) if message.HasField("minimum") else None
    maximum = to_bound(f"{field}.maximum", message.maximum) if message.HasField("maximum") else None
    if minimum is not None and maximum is not None and minimum > maximum:
        raise invalid(field, "the minimum is above the maximum")
    return PriceRange(currency.upper(), minimum, maximum)


def to_bound(field: str, value: float) -> Decimal:
    """An amount as its caller wrote it: the shortest decimal number that is this double."""
    if not math.isfinite(value) or value < 0:
        raise invalid(field, "must be a finite number, 0 or more")
    return Decimal(repr(value)) if value else Decimal(0)


def to_attribute(field: str, message: lens_service_pb2.AttributeCondition) -> AttributeCondition:
    """One condition on an attribute."""
    check_known(field, message)
    check_text(f"{field}.name", message.name)
    if not message.values:
        raise invalid(f"{field}.values", "must have at least one value")
    return AttributeCondition(message.name, texts(f"{field}.values", message.values, MAX_VALUES))


def texts(field: str, values: Sequence[str], most: int) -> tuple[str, ...]:
    """The checked texts, each once."""
    at_most(field, len(values), most)
    for place, value in enumerate(values):
        check_text(f"{field}[{place}]", value)
    return tuple(dict.fromkeys(values))


def at_most(field: str, count: int, most: int) -> None:
    """Checks the length of a list."""
    if count > most:
        raise invalid(field, f"{count} entries, the limit is {most}")


def check_text(field: str, value: str) -> None:
    """Checks one text. Its error does not repeat it."""
    if not value.strip():
        raise invalid(field, "must not be empty")
    if len(value) > MAX_CHARS:
        raise invalid(field, f"{len(value)} characters, the limit is {MAX_CHARS}")


def check_known(field: str, message: Message) -> None:
    """Raises `SightlineError` for conditions that this server does not know: ignored, they would let products in."""
    if len(UnknownFieldSet(message)):
        raise SightlineError(
            ErrorKind.NOT_BUILT,
            f"{field}: has a condition that this server does not know; leave it out or update the server",
            field=field,
            metadata={"field": field},
        )


def to_plan(plan: FilterPlan) -> lens_service_pb2.FilterPlan:
    """The plan as a message."""
    return lens_service_pb2.FilterPlan(kind=PLANS[plan.kind], products=plan.products, images=plan.images)
