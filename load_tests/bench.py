"""The hot path under load: `make bench`. Prints progress on standard error and one JSON object on its last line.

Three runs against one server of its own: calls one after the other (what a photo costs), as many callers as saturate it
(what it can do), and constant arrivals at 70 % of that (what callers then wait).
"""

import argparse
import asyncio
import hashlib
import json
import sys
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from load_tests import arrivals
from load_tests.generator import MAX_LATENESS_S, Generator, Run, percentile
from sightline_client.local_server import LocalServer

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=ROOT / "examples/showroom/photos", help="folder of JPEG photos")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the two load runs")
    parser.add_argument("--callers", type=int, default=8, help="calls under way in the saturation run")
    arguments = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(arguments.photos.glob("*.jpg"))]
    if not photos:
        parser.error(f"no .jpg in {arguments.photos}")
    with LocalServer(catalog=arguments.catalog) as server:
        report = asyncio.run(measure(server, photos, arguments.seconds, arguments.callers))
    report["photos_sha256"] = hashlib.sha256(b"".join(photos)).hexdigest()[:16]
    print(json.dumps(report))
    return 0 if report["unanswered"] == 0 and report["valid"] else 1


async def measure(server: LocalServer, photos: list[bytes], seconds: float, callers: int) -> dict[str, object]:
    """The three runs and what they gave."""
    async with Generator(server.target, photos, deadline_s=10.0) as generator:
        say("warming up")
        await generator.closed_loop(callers=callers, seconds=3.0)
        say("unloaded: one call at a time")
        unloaded = await generator.closed_loop(callers=1, seconds=seconds / 2)
        say(f"saturated: {callers} callers")
        before = scrape(server.metrics_url)
        saturated = await generator.closed_loop(callers=callers, seconds=seconds)
        after = scrape(server.metrics_url)
        served = len(saturated.good()) / saturated.seconds
        say(f"served {served:.2f} photos/s; constant arrivals at 70 % of it")
        steady = await generator.open_loop(arrivals.constant(served * 0.7, seconds))
    runs = (unloaded, saturated, steady)
    return {
        "served_photos_per_s": round(served, 3),
        "objects_per_photo": round(sum(o.objects for o in saturated.good()) / max(1, len(saturated.good())), 2),
        "unloaded_p50_ms": latency_ms(unloaded, 50),
        "p50_ms_at_70pct": latency_ms(steady, 50),
        "p99_ms_at_70pct": latency_ms(steady, 99),
        "first_result_p50_ms": round(percentile([o.first_result - o.intended for o in unloaded.good()], 50) * 1e3, 2),
        "mean_detect_batch": mean_batch(before, after, "frames"),
        "mean_embed_batch": mean_batch(before, after, "crops"),
        "codes": {code: sum(run.codes()[code] for run in runs) for code in {c for run in runs for c in run.codes()}},
        "unanswered": sum(run.codes()["UNANSWERED"] for run in runs),
        "generator_lateness_p99_ms": round(steady.lateness_p99_s * 1e3, 2),
        "valid": steady.lateness_p99_s <= MAX_LATENESS_S,
    }


def latency_ms(run: Run, rank: float) -> float:
    """A percentile of the good calls' latency."""
    return round(percentile([outcome.latency_s for outcome in run.good()], rank) * 1e3, 2)


def scrape(url: str) -> dict[tuple[str, str], float]:
    """Sums and counts of the batch-size histograms, by (sample name, batcher)."""
    with urllib.request.urlopen(url, timeout=5.0) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, sample.labels["batcher"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name in ("sightline_batch_size_sum", "sightline_batch_size_count")
    }


def mean_batch(before: dict[tuple[str, str], float], after: dict[tuple[str, str], float], batcher: str) -> float:
    """Items per batch between two scrapes."""

    def grown(name: str) -> float:
        return after.get((name, batcher), 0.0) - before.get((name, batcher), 0.0)

    return round(grown("sightline_batch_size_sum") / max(1.0, grown("sightline_batch_size_count")), 2)


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
