"""Draws the dashboard's main panels from a real run: `python -m load_tests.report.dashboard_picture --out FILE.png`.

A server on a catalog, Debian's Prometheus next to it, calls that rise from half of what the server can do to three
times as much and fall back; then the panels' own expressions, asked as Grafana asks them. Needs matplotlib, which is no
dependency of this project: install it where you run this.
"""

import argparse
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_tests.generator.arrivals import Phase, schedule
from load_tests.generator.photos import SHOWROOM, bad_requests, read_photos
from load_tests.generator.process import Generator
from load_tests.generator.tasks import Due
from scripts.dashboard_panels import ROWS
from scripts.dashboard_panels.panel import Panel
from sightline_client.local_server import LocalServer
from tests.support.prometheus import Line, Prometheus, filled_in, shipped_config

PANELS = (
    "Calls by code",
    "Calls inside, and how many may be",
    "First result",
    "Mean seconds of a call by stage",
    "Wait for a batch",
    "Mean items in a batch",
    "Items that ran for nobody",
    "Triton: items and executions",
    "Time of a batch",
    "Queries in one search of the index",
    "CPU of the serving processes",
    "Memory of the serving processes",
)
COLUMNS = 3
STEP_S = 2.0
RATE_INTERVAL = "10s"
BAD_EVERY = 25
FACTORS = {"bytes": (1 / 2**20, "MiB"), "s": (1e3, "ms"), "µs": (1e-3, "ms"), "percentunit": (100.0, "%")}
UNITS = {"reqps": "calls/s", "cps": "per second", "short": ""}


def main() -> int:
    """Runs, asks, draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--minute", type=float, default=60.0, help="seconds of each of the four parts")
    parser.add_argument("--out", type=Path, required=True, help="image to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines, title = observe(arguments.catalog, arguments.photos, arguments.minute, Path(folder))
    draw(lines, title, arguments.out)
    return 0


def observe(catalog: Path, photos: Path, minute: float, folder: Path) -> tuple[dict[str, list[list[Line]]], str]:
    """The lines of each query of each panel, and what the run was."""
    requests = read_photos(photos).requests
    log = folder / "server.log"
    with LocalServer(catalog=catalog, log=log) as server:
        triton = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", log.read_text())
        assert triton, "the log names Triton's metrics"
        config = shipped_config(server.metrics_url, triton[1], accelerator="cpu")
        bad = bad_requests(requests)
        with (
            Prometheus(config, folder) as prometheus,
            Generator(server.target, [*requests, *bad]) as generator,
        ):
            rate = capacity(server.target, requests)
            say(f"{rate:.1f} photos/s; the run")
            # Calls of the warm-up must not be in the first rates.
            time.sleep(float(RATE_INTERVAL.removesuffix("s")))
            phases = [
                Phase("half", minute, rate / 2, rate / 2),
                Phase("ramp", minute, rate / 2, rate),
                Phase("overload", minute / 2, rate * 3, rate * 3),
                Phase("half again", minute, rate / 2, rate / 2),
            ]
            started = time.time()
            run = generator.play(calls(phases, len(requests), len(bad)))
            say(f"{run.codes}, sent {run.lateness_p99_s * 1e3:.1f} ms late at p99")
            if not run.valid:
                raise SystemExit("the machine was too busy for this run to show anything: no image written")
            lines = {
                panel.title: [
                    prometheus.query_range(filled_in(query.expr, RATE_INTERVAL), started, time.time(), STEP_S)
                    for query in panel.queries
                ]
                for panel in chosen()
            }
    loads = f"0.5 to 1 x {rate:.1f} photos/s (what this machine served with every call waiting), then 3 x, then 0.5 x"
    return lines, f"Sightline under load, {datetime.now(UTC):%Y-%m-%d}: {loads}"


def capacity(target: str, requests: list[bytes]) -> float:
    """Photos a second that the server completes when there is always a next one."""
    with Generator(target, requests) as generator:
        generator.closed_loop(callers=8, seconds=4.0)
        run = generator.closed_loop(callers=8, seconds=10.0)
    return run.codes.get("OK", 0) / 10.0


def calls(phases: list[Phase], good: int, bad: int) -> list[Due]:
    """Calls in the phases' rhythm, each `BAD_EVERY`th of them one that must be refused."""
    due = []
    for place, at in enumerate(schedule(phases, seed=7)):
        wrong = place % BAD_EVERY == BAD_EVERY - 1
        due.append(Due(at, good + place % bad if wrong else place % good))
    return due


def chosen() -> list[Panel]:
    """The panels to draw, in the order of `PANELS`."""
    by_title = {panel.title: panel for row in ROWS for panel in row.panels}
    return [by_title[title] for title in PANELS]


def draw(lines: dict[str, list[list[Line]]], title: str, out: Path) -> None:
    """Writes the image."""
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    rows = -(-len(PANELS) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(13, 2.6 * rows), sharex=True, layout="constrained")
    start = min(at for queries in lines.values() for query in queries for line in query for at, _ in line.points)
    for panel, axis in zip(chosen(), axes.flat, strict=True):
        draw_panel(axis, panel, lines[panel.title], start)
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    figure.suptitle(title, fontsize=10)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)


def draw_panel(axis: Any, panel: Panel, queries: list[list[Line]], start: float) -> None:
    """One panel: a line each, or areas on each other."""
    factor, unit = FACTORS.get(panel.unit, (1.0, UNITS.get(panel.unit, panel.unit)))
    named = [
        (name_of(query.legend, line.labels), line)
        for query, found in zip(panel.queries, queries, strict=True)
        for line in found
    ]
    for name, line in named if not panel.stacked else ():
        axis.plot(
            [at - start for at, _ in line.points], [y * factor for _, y in line.points], label=name, linewidth=1.2
        )
    if panel.stacked:
        instants = sorted({at for _, line in named for at, _ in line.points})
        values = [[dict(line.points).get(at, 0.0) * factor for at in instants] for _, line in named]
        axis.stackplot([at - start for at in instants], values, labels=[name for name, _ in named], alpha=0.8)
    if panel.red_from is not None and panel.red_from * factor < axis.get_ylim()[1] * 1.5:
        axis.axhline(panel.red_from * factor, color="red", linewidth=0.8, linestyle="--")
    axis.set_title(f"{panel.title}{f' [{unit}]' if unit else ''}", fontsize=9, loc="left")
    # Room for the legend above the lines.
    axis.set_ylim(0, axis.get_ylim()[1] * 1.3)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=6.5, frameon=False, loc="upper left", ncols=2)


def name_of(legend: str, labels: dict[str, str]) -> str:
    """Grafana's legend for a line."""
    return re.sub(
        r"\{\{(\w+)\}\}", lambda match: "server" if match[1] == "instance" else labels.get(match[1], ""), legend
    )


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
