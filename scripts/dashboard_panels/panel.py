"""The value type of a panel, and the expressions that panels share."""

from dataclasses import dataclass
from typing import Any

OURS = 'instance=~"$instance"'
OK, NOT_OK = 'code="OK"', 'code!="OK"'
DECODE, SEARCH = 'stage="decode"', 'stage="search"'
QUERIES = 'batcher="queries"'
SERVER = f'{{job="sightline", {OURS}}}'


@dataclass(frozen=True, slots=True)
class Query:
    """One expression and what its lines are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One question: its title, what a good answer looks like, and the queries that answer it."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    red_from: float | None = None
    """A threshold, drawn as a line."""
    good: bool | None = None
    """For a stat of 0 and 1: which of them is green."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str, *matchers: str) -> str:
    """The rate of a counter over the chosen replicas, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{', '.join((OURS, *matchers))}}}[$__rate_interval]))"


def quantiles(metric: str, *ranks: float, by: str = "", legend: str = "") -> tuple[Query, ...]:
    """Quantiles of a histogram over all chosen replicas."""
    labels = f"{by}, le" if by else "le"
    return tuple(
        Query(f"histogram_quantile({rank}, {rate(f'{metric}_bucket', labels)})", f"{legend} p{rank * 100:g}".strip())
        for rank in ranks
    )


def mean(metric: str, by: str) -> str:
    """The mean of a histogram's observations."""
    return f"{rate(f'{metric}_sum', by)} / {rate(f'{metric}_count', by)}"


def stat(title: str, description: str, unit: str, expr: str, **more: Any) -> Panel:
    """A single figure."""
    return Panel(title, description, unit, (Query(expr),), kind="stat", width=4, **more)
