"""The whole path on the GPU in photos a second: `python -m load_tests.gpu.path --catalog DIR`.

A separate server with `engine.device` set, several numbers of callers, then one caller alone; next to it the time that
the two models alone would take (from models.json, if that is there). With `--workers N` the server has N processes.
Rule: the server says itself which provider runs each model, and a run in which that is not the device asked for fails.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from load_tests.bench import RAMP_S, completed_per_s
from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.generator.process import Generator
from load_tests.generator.records import milliseconds
from load_tests.gpu.results import common_options, gpu_state, out_folder, publish, say
from load_tests.observe.scrapes import Between, Scrape, scrape
from sightline_client.errors import SightlineError
from sightline_client.local_server import LocalServer

DEADLINE_S = 2.0
WARM_UP_S = 5.0
PROVIDERS = {"gpu": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
PROVIDER_METRIC = "sightline_engine_provider"


def main() -> int:
    """Serves and measures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.path", description=__doc__)
    common_options(parser)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--callers", type=int, nargs="+", help="numbers of calls under way; the best counts")
    parser.add_argument("--seconds", type=float, help="length of each reading; default 10, with --cpu 4")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    parser.add_argument("--name", default="path", help="of the result's file")
    arguments = parser.parse_args()
    device = "cpu" if arguments.cpu else "gpu"
    callers = arguments.callers or ((3 * cores(),) if arguments.cpu else (8, 16, 32, 64))
    seconds = arguments.seconds or (4.0 if arguments.cpu else 10.0)
    photos = read_photos(arguments.photos)
    env = settings(device, arguments.workers)
    try:
        with (
            LocalServer(catalog=arguments.catalog, extra_args=processes(arguments.workers), env=env) as server,
            Generator(
                server.target, photos.requests, connections=8 * arguments.workers, deadline_s=DEADLINE_S
            ) as generator,
        ):
            found = providers(scrape(server.metrics_url))
            if set(found.values()) != {PROVIDERS[device]}:
                say(f"path: asked for {device}, but the models run on {found or 'what nobody says'}")
                return 1
            generator.closed_loop(callers=max(callers), seconds=WARM_UP_S)
            figures = saturate(generator, server.metrics_url, callers, seconds)
            alone = generator.closed_loop(callers=1, seconds=seconds)
    except SightlineError as error:
        say(f"path: {error}")
        return 2
    figures |= {
        "workers": arguments.workers,
        "unloaded_p50_ms": milliseconds(alone.latency_s[alone.good], 50),
        "unloaded_p99_ms": milliseconds(alone.latency_s[alone.good], 99),
        "photos_sha256": photos.digest,
        "engine_providers": found,
    }
    figures |= against_models(figures, out_folder(arguments.out) / "models.json", device)
    publish(arguments.name, figures, cpu=arguments.cpu, out=arguments.out)
    return 0


def processes(workers: int) -> list[str]:
    """The options of a server with so many processes."""
    return ["--workers", str(workers)] if workers > 1 else []


def settings(device: str, workers: int = 1) -> dict[str, str]:
    """Of the server: its device, and on a machine with many cores as many threads for photos as leave some for it.

    Workers share them. What the caller's environment says of them counts more.
    """
    threads = max(2, min(16, cores() - 4) // workers)
    usual = {"SIGHTLINE_ENGINE__DEVICE": device, "SIGHTLINE_DECODE__THREADS": str(threads)}
    return {**usual, **{name: value for name, value in os.environ.items() if name in usual}}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def providers(now: Scrape) -> dict[str, str]:
    """Model -> the provider that runs it, as the server says."""
    running = [dict(labels) for (name, labels), value in now.samples.items() if name == PROVIDER_METRIC and value == 1]
    return {labels["model"]: labels["provider"] for labels in running}


def saturate(generator: Generator, metrics_url: str, callers: Sequence[int], seconds: float) -> dict[str, Any]:
    """Each number of callers in turn; the best one's figures and all readings."""
    readings = []
    for count in callers:
        before = scrape(metrics_url)
        run = generator.closed_loop(callers=count, seconds=seconds)
        between = Between(before, scrape(metrics_url))
        reading = {
            "callers": count,
            "photos_per_s": round(completed_per_s(run, RAMP_S, seconds), 2),
            "p50_ms": milliseconds(run.latency_s[run.good], 50),
            "p99_ms": milliseconds(run.latency_s[run.good], 99),
            "objects_per_photo": round(float(run.objects[run.good].mean()), 3) if run.good.any() else 0.0,
            "codes": dict(run.codes),
            "mean_frames_batch": between.mean_batch("frames"),
            "mean_crops_batch": between.mean_batch("crops"),
            "mean_queries_batch": between.mean_batch("queries"),
            "stage_ms": between.stage_shares(),
            "generator_cores": round(run.cpu_s / run.seconds, 2),
            "gpus": gpu_state(),
        }
        say(f"path: {count} callers, {reading['photos_per_s']} photos/s")
        readings.append(reading)
    best = max(readings, key=lambda reading: float(str(reading["photos_per_s"])))
    return {
        "served_photos_per_s": best["photos_per_s"],
        "callers": best["callers"],
        "objects_per_photo": best["objects_per_photo"],
        "readings": readings,
    }


def against_models(figures: Mapping[str, Any], models: Path, device: str) -> dict[str, Any]:
    """The throughput of the models alone on the served photos, in their best batch, one model at a time."""
    try:
        timed = json.loads(models.read_text())
    except (OSError, ValueError):
        return {}
    if timed.get("device") != device:
        return {}
    detector, embedder = timed["detector"], timed["embedder"]
    objects = float(figures["objects_per_photo"])
    photo_ms = detector["best_ms_per_picture"] + objects * embedder["best_ms_per_picture"]
    floor_ms = (detector["gflop_per_picture"] + objects * embedder["gflop_per_picture"]) * 1e12
    floor_ms /= timed["ceiling"]["ops_per_s"]
    return {
        "models_ms_per_photo": round(photo_ms, 3),
        "models_photos_per_s": round(1e3 / photo_ms, 2),
        "served_over_models": round(float(figures["served_photos_per_s"]) * photo_ms / 1e3, 3),
        "operations_floor_ms_per_photo": float(f"{floor_ms:.3g}"),
    }


if __name__ == "__main__":
    sys.exit(main())
