"""The request of a search: every value checked, then serialized once for all attempts.

Rule: what protobuf or gRPC could not carry is an `InvalidRequestError` that names the field. Limits that are the
server's to decide, such as how many regions there may be, are left to it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sightline.v1 import lens_service_pb2
from sightline_client import convert, credentials, errors, values
from sightline_client.events import Box, Lane, Point, Region
from sightline_client.filter_checks import FieldError, checked_filter
from sightline_client.filters import Filter
from sightline_client.photo import encoded, encoded_crops
from sightline_client.vectors import vectors_bytes

ALLOWANCE = 1024 * 1024
"""Bytes that a request may have in addition to its photo; the server allows as much."""


def serialized(photo: object, parameters: Mapping[str, object], *, max_photo_bytes: int) -> bytes:
    """The request as protobuf bytes. Raises `InvalidRequestError`, of it `PhotoTooLargeError`."""
    data = encoded(photo, max_photo_bytes)
    checked = _checked_all(parameters, _CHECKS)
    message = convert.request_to_pb(data, **checked)
    request = message.SerializeToString()
    surplus = len(request) - len(data)
    if surplus > ALLOWANCE:
        sizes = {"filter": message.filter.ByteSize(), "catalog": len(message.catalog.encode())}
        field = next((name for name, size in sizes.items() if size >= surplus // 2), "regions")
        raise invalid(field, f"makes a request of {surplus} bytes in addition to the photo, at most {ALLOWANCE}")
    return request


def serialized_crops(crops: object, parameters: Mapping[str, object], *, max_bytes: int) -> bytes:
    """The request of a search of crops as protobuf bytes. Raises `InvalidRequestError`, of it `PhotoTooLargeError`."""
    data = encoded_crops(crops, max_bytes)
    checked = _checked_all(parameters, _OF_OBJECTS)
    request = convert.request_to_pb(crops=data, **checked).SerializeToString()
    if len(request) - sum(map(len, data)) > ALLOWANCE:
        raise invalid("filter", f"makes a request of more than {ALLOWANCE} bytes in addition to the crops")
    return request


def serialized_embeddings(embeddings: object, embedder: object, parameters: Mapping[str, object]) -> bytes:
    """The request of a search of embeddings as protobuf bytes. Raises `InvalidRequestError`."""
    vectors = vectors_bytes(embeddings)
    checked = _checked_all(parameters, _OF_OBJECTS)
    message = convert.embeddings_request_to_pb(_named("embedder", values.text, embedder), vectors, **checked)
    request = message.SerializeToString()
    if len(request) > ALLOWANCE:
        field = "embeddings" if sum(map(len, vectors)) > len(request) // 2 else "filter"
        raise invalid(field, f"makes a request of {len(request)} bytes, at most {ALLOWANCE}")
    return request


def info(catalog: object, lane: object) -> lens_service_pb2.GetServerInfoRequest:
    """The request for what a server says about itself. Raises `InvalidRequestError`."""
    return convert.info_request_to_pb(_named("catalog", values.text, catalog), _named("lane", _lane, lane))


def invalid(field: str, problem: str) -> errors.InvalidRequestError:
    """The error for one field; `problem` reads after its name: "must be 0 to 1, not nan"."""
    return errors.InvalidRequestError(f"{field} {problem}", violations=[errors.FieldViolation(field, problem)])


def timeout_s(value: object) -> float:
    """A checked timeout, infinity for none. Raises `InvalidRequestError`."""
    seconds: float = _named("timeout_s", values.timeout, value)
    return seconds


def _checked_all(parameters: Mapping[str, object], known: Collection[str]) -> dict[str, Any]:
    checked = {name: _checked(name, value, known) for name, value in parameters.items()}
    if checked.get("text_weight") is not None and checked.get("text") is None:
        raise invalid("text_weight", "is for searches with a text; give `text`, or leave it out")
    return checked


def _checked(name: str, value: object, known: Collection[str]) -> Any:
    if name not in known:
        raise invalid(name, f"is not a parameter of this search; there are {', '.join(known)}")
    check = _CHECKS[name]
    return check(value) if name in ("regions", "filter") else _named(name, check, value)


def _named(name: str, check: Callable[[object], Any], value: object) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise invalid(name, str(error)) from None


def _regions(value: object) -> list[Region]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise invalid("regions", f"must be a sequence of Box and Point, not {values.quoted(value)}")
    return [_region(f"regions[{place}]", region) for place, region in enumerate(value)]


def _region(field: str, region: object) -> Region:
    if isinstance(region, Box):
        return Box(*_coordinates(f"{field}.box", region, ("x_min", "y_min", "x_max", "y_max")))
    if isinstance(region, Point):
        return Point(*_coordinates(f"{field}.tap", region, ("x", "y")))
    raise invalid(field, f"must be a Box or a Point, not {values.quoted(region)}")


def _coordinates(field: str, region: Region, names: Iterable[str]) -> list[float]:
    return [_named(f"{field}.{name}", values.finite, getattr(region, name)) for name in names]


def _filter(value: object) -> Filter | None:
    try:
        return checked_filter(value)
    except FieldError as error:
        raise invalid(error.field, str(error)) from None


def _count(value: object) -> int:
    return values.integer(value, 0, values.INT32_MAX)


def _choice(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ValueError(f"must be True, False or None, not {values.quoted(value)}")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be True or False, not {values.quoted(value)}")


def _lane(value: object) -> Lane:
    if not isinstance(value, Lane):
        raise ValueError(f"must be a Lane, not {values.quoted(value)}")
    return value


def _grant(value: object) -> str | None:
    if value is None:
        return None
    try:
        credentials.check(value if isinstance(value, str) else "")
    except ValueError:
        # Without its text: a grant is a credential for one search.
        raise ValueError("must be a consent grant: printable ASCII characters without spaces") from None
    return str(value)


def _wanted_text(value: object) -> str | None:
    if value is None:
        return None
    # Without its content, which is personal.
    if not isinstance(value, str):
        raise ValueError(f"must be a str or None, not {values.kind(value)}")
    try:
        values.text(value)
    except ValueError:
        raise ValueError("must be text that UTF-8 can encode") from None
    if not value.strip():
        raise ValueError("must not be empty; leave it out for a search without a text")
    return value


def _weight(value: object) -> float | None:
    return None if value is None else values.fraction(value)


_CHECKS: Mapping[str, Callable[[object], Any]] = {
    "regions": _regions,
    "catalog": values.text,
    "max_objects": _count,
    "max_products": _count,
    "min_similarity": values.fraction,
    "lane": _lane,
    "one_per_group": _choice,
    "filter": _filter,
    "grant": _grant,
    "look_closer": _flag,
    "text": _wanted_text,
    "text_weight": _weight,
}
_OF_OBJECTS = tuple(name for name in _CHECKS if name not in ("regions", "max_objects", "look_closer"))
"""The parameters of a search of objects that the caller has found itself."""
