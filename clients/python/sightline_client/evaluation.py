"""How good the answers are: the queries of a file, the rank of the right product, and what follows from the ranks.

Rule: sans-IO but for reading the query file; a query that failed counts as a miss and is counted apart.
"""

import csv
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from sightline_client.answers import Answer
from sightline_client.events import Box, Region, StageTimings

DEPTH = 10
"""Ranks below it count as not found."""


class Regions(Enum):
    """What is asked about each photo: the file's box, the whole photo, or what the detector finds."""

    BOX = "box"
    WHOLE = "whole"
    DETECT = "detect"


class QueryFileError(Exception):
    """The query file cannot be used; the message names the row."""


@dataclass(frozen=True, slots=True)
class Query:
    """One photo and the product that it shows; `box` is where, if the file says so."""

    image: Path
    product_id: str
    box: Box | None = None

    def regions(self, kind: Regions) -> tuple[Region, ...]:
        """The regions of the request."""
        if kind is Regions.WHOLE:
            return (Box.whole(),)
        return (self.box,) if kind is Regions.BOX and self.box is not None else ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one query: the right product's best rank over the objects, from 1; `error` where it failed."""

    rank: int | None = None
    timings: StageTimings | None = None
    error: str = ""


def read_queries(path: Path) -> list[Query]:
    """The rows of a CSV file with columns image, product_id and perhaps box; images are relative to the file.

    Raises `QueryFileError`, or `OSError` for a file that cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines)
        missing = {"image", "product_id"} - set(rows.fieldnames or ())
        if missing:
            raise QueryFileError(f"{path} has no column {', '.join(sorted(missing))}")
        queries = [_query(path, row, rows.line_num) for row in rows]
    if not queries:
        raise QueryFileError(f"{path} has no rows")
    return queries


def choose_regions(queries: Sequence[Query], wanted: Regions | None) -> Regions:
    """What was asked for, or else boxes where the file has them. Raises `QueryFileError` for boxes that it lacks."""
    boxes = sum(query.box is not None for query in queries)
    if wanted is None:
        wanted = Regions.BOX if boxes else Regions.DETECT
    if wanted is Regions.BOX and boxes < len(queries):
        raise QueryFileError(f"{len(queries) - boxes} of {len(queries)} rows have no box")
    return wanted


def best_rank(answer: Answer, product_id: str) -> int | None:
    """The right product's best rank over all objects of the photo, or None."""
    ranks = [ranked.rank for found in answer.objects for ranked in found.products if ranked.product.id == product_id]
    return min(ranks, default=None)


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a run, ready for JSON.

    `hit@k` is the share of queries whose product is among the first k, `mrr@10` the mean of 1/rank with 0 below rank
    10, `stages` mean and median milliseconds over the queries that were answered.
    """
    if not outcomes:
        raise ValueError("no outcomes")
    ranks = [outcome.rank for outcome in outcomes]
    return {
        "hit@1": _hit(ranks, 1),
        "hit@5": _hit(ranks, 5),
        "hit@10": _hit(ranks, 10),
        "mrr@10": round(sum(1 / rank for rank in ranks if rank is not None and rank <= DEPTH) / len(ranks), 6),
        "n": len(ranks),
        "failed": sum(bool(outcome.error) for outcome in outcomes),
        "stages": _stages(outcome.timings for outcome in outcomes if outcome.timings is not None),
    }


def _query(path: Path, row: dict[str | Any, str | Any], line: int) -> Query:
    image, product_id = (row.get("image") or "").strip(), (row.get("product_id") or "").strip()
    if not image or not product_id:
        raise QueryFileError(f"{path} line {line}: image and product_id must be filled")
    return Query(path.parent / image, product_id, _box(path, (row.get("box") or "").strip(), line))


def _box(path: Path, text: str, line: int) -> Box | None:
    if not text:
        return None
    try:
        x_min, y_min, x_max, y_max = (float(part) for part in text.split(","))
    except ValueError:
        raise QueryFileError(f"{path} line {line}: box {text!r} is not x0,y0,x1,y1") from None
    return Box(x_min, y_min, x_max, y_max)


def _hit(ranks: Sequence[int | None], depth: int) -> float:
    return round(sum(rank is not None and rank <= depth for rank in ranks) / len(ranks), 6)


def _stages(timings: Iterable[StageTimings]) -> dict[str, dict[str, float]]:
    columns: dict[str, list[float]] = {}
    for each in timings:
        for name, value in asdict(each).items():
            columns.setdefault(name, []).append(value)
    return {
        name: {"mean": round(statistics.fmean(values), 3), "p50": round(statistics.median(values), 3)}
        for name, values in columns.items()
    }
