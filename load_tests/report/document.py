"""The report of a run: JSON for programs, and one self-contained, human-readable HTML page.

Rule: the page needs nothing but itself; everything that it shows is in the JSON too.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from load_tests.generator.records import Run, histogram, percentile
from load_tests.observe.holdings import MEGABYTE, Look
from load_tests.observe.scrapes import Between, Scrape
from load_tests.report.plots import Series, chart
from load_tests.scenarios.scenario import Scenario
from sightline_server.domain.stages import STAGE_NAMES

Chart = dict[str, Any]
MOST_DOTS = 4000
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
BATCHERS = ("frames", "crops", "queries")
STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667085; --line: #d9dee7; --paper: #fff; --card: #f6f7f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #333b49; --paper: #14181f; --card: #1c222b } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 78rem; padding: 2rem 1.2rem }
h1 { font-size: 1.5rem; margin: 0 } p.about { color: var(--soft); margin: .2rem 0 1.4rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0 0 1.4rem }
td, th { text-align: left; padding: .25rem 1.1rem .25rem 0; border-bottom: 1px solid var(--line); font-weight: 400 }
th { color: var(--soft) } .no { color: #c0392b; font-weight: 600 } .yes { color: #2f9e62; font-weight: 600 }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); gap: 1.2rem }
figure { margin: 0; background: var(--card); border-radius: .6rem; padding: .9rem 1rem }
figcaption { font-weight: 600; margin-bottom: .4rem } svg { width: 100%; height: auto; display: block }
svg text { font-size: 11px; fill: var(--soft) } .grid { stroke: var(--line) }
.legend { margin: .4rem 0 0; font-size: .85rem; color: var(--soft) } .legend span { margin-right: 1rem }
.legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin-right: .35rem }
.axes { float: right } .facts { display: flex; flex-wrap: wrap; gap: 0 3rem }
"""


def charts(scenario: Scenario, run: Run, scrapes: Sequence[Scrape], looks: Sequence[Look]) -> list[Chart]:
    """The plotted data of an open-loop run."""
    latency_ms = run.latency_s[run.good] * 1e3
    at = run.intended[run.good]
    refused = run.of("RESOURCE_EXHAUSTED")
    dots = [*zip(at.tolist(), latency_ms.tolist(), strict=True)]
    latency = [
        {"name": "answered", "kind": "dots", "points": thinned(dots)},
        *({"name": f"p{rank} of a second", "points": by_second(at, latency_ms, rank)} for rank in (50, 99)),
    ]
    if refused.any():
        late = zip(run.intended[refused].tolist(), (run.latency_s[refused] * 1e3).tolist(), strict=True)
        latency.append({"name": "refused", "kind": "dots", "points": thinned([*late])})
    made = [
        {"title": "Latency over time", "x": "s", "y": "ms", "series": latency},
        {
            "title": "Calls a second",
            "x": "s",
            "y": "calls",
            "series": [
                {"name": name, "points": per_second(run.intended[chosen])}
                for name, chosen in (("sent", run.intended >= 0), ("answered", run.good), ("refused", refused))
                if chosen.any()
            ],
        },
        percentile_chart(latency_ms),
    ]
    return [*made, *server_charts(scrapes), *process_charts(looks)]


def percentile_chart(latency_ms: Any) -> Chart:
    """Latency by percentile, logarithmic."""
    points = [(float(place), percentile(latency_ms, rank)) for place, rank in enumerate(PERCENTILES)]
    return {
        "title": "Latency by percentile",
        "x": "percentile",
        "y": "ms",
        "logarithmic": True,
        "labels": [f"p{rank:g}" for rank in PERCENTILES],
        "series": [{"name": "answered calls", "kind": "bars", "points": points}],
    }


def server_charts(scrapes: Sequence[Scrape]) -> list[Chart]:
    """Batch sizes and stages over time, from the server's own metrics."""
    spans = [Between(one, other) for one, other in pairwise(scrapes) if other.at > one.at]
    if not spans:
        return []
    start = scrapes[0].at

    def over_time(value: Any) -> list[tuple[float, float]]:
        return [(span.after.at - start, found) for span in spans if (found := value(span)) > 0]

    sizes = [{"name": name, "points": over_time(lambda s, n=name: s.mean_batch(n))} for name in BATCHERS]
    stages = [
        {"name": stage, "points": over_time(lambda s, n=stage: 1e3 * s.mean("sightline_stage_seconds", stage=n))}
        for stage in STAGE_NAMES
    ]
    whole = Between(scrapes[0], scrapes[-1]).stage_shares()
    shares = [(float(place), whole[stage]) for place, stage in enumerate(STAGE_NAMES)]
    return [
        {"title": "Items in a batch", "x": "s", "y": "items", "series": sizes},
        {"title": "Stages over time, waiting included", "x": "s", "y": "ms a call", "series": stages},
        {
            "title": "Stages of the whole run",
            "x": "stage",
            "y": "ms a call",
            "labels": list(STAGE_NAMES),
            "series": [{"name": "mean", "kind": "bars", "points": shares}],
        },
    ]


def process_charts(looks: Sequence[Look]) -> list[Chart]:
    """Memory of each process over time."""
    if len(looks) < 2:
        return []
    series = [
        {
            "name": role,
            "points": [(seen.at - looks[0].at, seen.held[role].rss / MEGABYTE) for seen in looks if role in seen.held],
        }
        for role in looks[-1].held
    ]
    return [{"title": "Memory (RSS)", "x": "s", "y": "MB", "series": series}]


def by_second(at: Any, values: Any, rank: int) -> list[tuple[float, float]]:
    """A percentile of the calls that were meant to start in each second."""
    seconds = np.floor(at)
    return [(float(second), percentile(values[seconds == second], rank)) for second in np.unique(seconds)]


def per_second(at: Any) -> list[tuple[float, float]]:
    """The number of instants in each second."""
    seconds, counts = np.unique(np.floor(at), return_counts=True)
    return [*zip(seconds.tolist(), counts.astype(float).tolist(), strict=True)]


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST_DOTS` of the points, evenly; a page with more is slow and shows no more."""
    return points[:: -(-len(points) // MOST_DOTS)] if points else points


def encoded(run: Run) -> str:
    """The HDR histogram of the good calls' latencies, compressed as HdrHistogram does, to be merged with others."""
    return str(histogram(run.latency_s[run.good]).encode().decode())


def write(place: Path, found: Mapping[str, Any]) -> None:
    """Writes `place`.json and `place`.html."""
    place.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    place.with_suffix(".html").write_text(page(found))


def page(found: Mapping[str, Any]) -> str:
    """The HTML page."""
    figures = "".join(drawn(each) for each in found["charts"])
    facts = "".join(
        f"<div>{rows(found[part])}</div>" for part in ("figures", "codes", "places", "machine") if found.get(part)
    )
    title = escape(str(found["scenario"]))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f'<h1>{title}</h1><p class="about">{escape(str(found["about"]))}; photos {found["photos_sha256"]}'
        f"{'' if found['valid'] else '; <b>invalid: the generator was late</b>'}</p>"
        f'{verdict_table(found["thresholds"])}<main>{figures}</main><h2>Figures</h2><div class="facts">{facts}</div>'
    )


def drawn(given: Chart) -> str:
    """One chart of the report as SVG."""
    series = [Series(each["name"], each["points"], each.get("kind", "line")) for each in given["series"]]
    return chart(
        given["title"],
        series,
        x=given["x"],
        y=given["y"],
        logarithmic=given.get("logarithmic", False),
        labels=given.get("labels", ()),
    )


def verdict_table(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Thresholds and whether they hold."""
    body = "".join(
        f"<tr><td>{escape(v['figure'])}</td><td>{escape(v['bound'])}</td><td>{number(v['found'])}</td>"
        f'<td class="{"yes" if v["holds"] else "no"}">{"holds" if v["holds"] else "missed"}</td></tr>'
        for v in verdicts
    )
    return f"<table><tr><th>threshold</th><th>bound</th><th>found</th><th></th></tr>{body}</table>" if body else ""


def rows(values: Mapping[str, Any]) -> str:
    """A table of names and numbers."""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{number(value)}</td></tr>" for name, value in values.items())
    return f"<table>{body}</table>"


def number(value: Any) -> str:
    """A number as people read it."""
    return "-" if value is None else f"{value:,.6g}"


def text(found: Mapping[str, Any]) -> str:
    """The report for a terminal."""
    lines = [f"{name:38} {number(value)}" for name, value in found["figures"].items()]
    lines += [f"{name:60} {count}" for name, count in found.get("places", {}).items()]
    lines += [f"codes: {found['codes']}", f"machine: {found['machine']}"]
    for place, minute in enumerate(found.get("minutes", ()), start=1):
        lines.append(f"minute {place:3}  " + "  ".join(f"{name} {number(value)}" for name, value in minute.items()))
    for role, gained in found["processes"].get("growth", {}).items():
        lines.append(f"{role:20} {gained}")
    lines += [
        f"{'holds ' if v['holds'] else 'MISSED'} {v['figure']} {v['bound']}: {number(v['found'])}"
        for v in found["thresholds"]
    ]
    return "\n".join(lines)
