"""Regions as people write them: `x0,y0,x1,y1` and `x,y`, fractions of the upright photo.

Rule: only the form is checked here; what a region may be is the server's to say.
"""

from sightline_client.events import Box, Point


def parse_box(text: str) -> Box:
    """A box from `x0,y0,x1,y1`. Raises `ValueError` with words for the user."""
    return Box(*_numbers(text, 4, "x0,y0,x1,y1"))


def parse_point(text: str) -> Point:
    """A point from `x,y`. Raises `ValueError` with words for the user."""
    return Point(*_numbers(text, 2, "x,y"))


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ValueError(f"{text!r} is not {form}, fractions of the photo such as 0.1")
    return numbers
