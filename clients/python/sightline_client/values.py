"""Values that callers give, as the plain numbers and texts that protobuf and gRPC take.

Rule: pure, and `ValueError` is the only exception; its text starts with "must be", so that the caller puts the name of
the value in front. A wrong value is quoted only if it is a number or a short text, because it may be a photo.
"""

import math
import operator

INT32_MAX = 2**31 - 1
FLOAT32_MAX = (2 - 2**-23) * 2.0**127
LONGEST_TIMEOUT_S = 365 * 24 * 3600.0
"""Longer timeouts count as none: gRPC turns them into deadlines in the past or shortens them to about three years."""
SHOWN = 60
"""Number of characters of a wrong value that are quoted."""


def integer(value: object, low: int, high: int) -> int:
    """The whole number `value`, if it is between `low` and `high`. Raises `ValueError`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"must be a whole number, not {quoted(value)}") from None
    if isinstance(value, bool):
        raise ValueError(f"must be a whole number, not {value}")
    if not low <= number <= high:
        raise ValueError(f"must be {low} to {high}, not {quoted(number)}")
    return number


def real(value: object) -> float:
    """The number `value` as a float, NaN and infinity included. Raises `ValueError`; of huge integers too."""
    # `float` also takes texts, and arrays of one number.
    if isinstance(value, bool | str) or not hasattr(type(value), "__float__") or hasattr(type(value), "__len__"):
        raise ValueError(f"must be a number, not {quoted(value)}")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError(f"must be a number of a usual size, not {quoted(value)}") from None
    except (TypeError, ValueError):
        raise ValueError(f"must be a number, not {quoted(value)}") from None


def finite(value: object) -> float:
    """A number that a protobuf `float` holds. Raises `ValueError` for NaN, infinity and what is beyond 3.4e38."""
    number = real(value)
    if not abs(number) <= FLOAT32_MAX:
        raise ValueError(f"must be a finite number, not {quoted(number)}")
    return number


def fraction(value: object) -> float:
    """A number from 0 to 1. Raises `ValueError`."""
    number = real(value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"must be 0 to 1, not {quoted(number)}")
    return number


def delay(value: object) -> float:
    """Seconds from 0 on, without infinity. Raises `ValueError`."""
    number = real(value)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"must be 0 or more seconds, not {quoted(number)}")
    return number


def timeout(value: object) -> float:
    """Seconds above 0; infinity for "no limit" and for more than `LONGEST_TIMEOUT_S`. Raises `ValueError`."""
    huge = isinstance(value, int) and value > LONGEST_TIMEOUT_S  # also where `float` overflows
    number = math.inf if huge else real(value)
    if not number > 0.0:
        raise ValueError(f"must be more than 0 seconds (math.inf: no limit), not {quoted(number)}")
    return math.inf if number > LONGEST_TIMEOUT_S else number


def text(value: object) -> str:
    """A text that UTF-8 can hold. Raises `ValueError` for other types and for lone surrogates."""
    if not isinstance(value, str):
        raise ValueError(f"must be a str, not {quoted(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"must be text that UTF-8 can encode, not {quoted(value)}") from None
    return value


def quoted(value: object) -> str:
    """A number or a short text as Python writes it, of every other object only its type."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
    if isinstance(value, str):
        return ascii(value) if len(value) <= SHOWN else f"{value[:SHOWN]!a}..."
    return kind(value)


def kind(value: object) -> str:
    """The type of a value, with the package where it is not Python's own: `numpy.ndarray`."""
    of = type(value)
    package = of.__module__.partition(".")[0]
    return of.__qualname__ if package == "builtins" else f"{package}.{of.__qualname__}"
