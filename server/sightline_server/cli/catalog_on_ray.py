"""`sightline catalog build --on ray`: its options, and the build between the connection to Ray and its end."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline_console.terminal import echo
from sightline_server.cli.build_report import shown_progress
from sightline_server.cli.embedding_run import cancel_on_signals
from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings

if TYPE_CHECKING:
    from sightline_server.ingest.build import BuildOptions, BuildReport
    from sightline_server.ingest.on_ray.build import RayReport
    from sightline_server.ingest.on_ray.embedding_run import Pool

On = Annotated[
    str | None,
    typer.Option("--on", metavar="ray", help="Embed on a Ray cluster (extra 'ray') instead of in this process."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="With --on ray: the cluster, of which this machine is a node (default: RAY_ADDRESS, else a Ray on this "
        "machine that ends with the build).",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --on ray: processes that embed, each with its own engine or at --triton-url (default: one a GPU, "
        "without GPUs one a node).",
    ),
]
CheckpointFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        file_okay=False,
        help="With --on ray: folder for what is embedded until the catalog is built, so that the same command goes on "
        "after a stop (default: next to --out, with .embedded behind its name).",
    ),
]


def require_ray(on: str | None, options: dict[str, object]) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for anything but Ray, and for its `options` without it."""
    if on not in (None, "ray"):
        raise SightlineError(ErrorKind.CONFIGURATION, f"--on {on}: expected ray")
    given = [name for name, value in options.items() if value is not None]
    if on is None and given:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{given[0]} needs --on ray")


def checkpoint_folder(checkpoint: Path | None, out: Path) -> Path:
    """The folder for what is embedded."""
    return checkpoint or out.resolve().with_name(f"{out.resolve().name}.embedded")


def build_with_ray(
    settings: Settings,
    options: "BuildOptions",
    embedder: str | None,
    address: str | None,
    workers: int | None,
    folder: Path,
) -> "RayReport":
    """The build on Ray: at `address`, else at that of the environment. SIGTERM and SIGHUP end it as Ctrl-C does."""
    from sightline_server.app.worker_engine import WorkerEngine
    from sightline_server.index.staging import check_target
    from sightline_server.ingest.feeds.reader import count_rows
    from sightline_server.ingest.on_ray.build import build_on_ray, images_root, sent_options
    from sightline_server.ingest.on_ray.pool import loaded, ray_pool
    from sightline_server.ingest.on_ray.worker import Work
    from sightline_server.stages.formats import check_decoders

    cluster = address or os.environ.get("RAY_ADDRESS") or None
    loaded(cluster)
    check_target(options.out, replace=options.replace)
    check_decoders(options.decode.formats)
    work = Work(sent_options(options), images_root(options), WorkerEngine.of(settings, embedder))
    gpu = settings.engine.device != "cpu" and settings.engine.triton_url is None

    @contextmanager
    def connect() -> Iterator["Pool"]:
        # The handlers come second, because Ray sets its own.
        with ray_pool(work, cluster, workers, gpu=gpu) as pool, raising_signals():
            yield pool

    total = count_rows(options.feed, options.feed_options)
    with shown_progress(total) as progress:
        return build_on_ray(options, folder, connect, embedder or "", run_cancellable, progress)


def run_cancellable(build: "Coroutine[Any, Any, BuildReport]") -> "BuildReport":
    """The result of `build`, which signals cancel."""

    async def run() -> "BuildReport":
        cancel_on_signals()
        return await build

    return asyncio.run(run())


@contextmanager
def raising_signals() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP raise `asyncio.CancelledError` in the block, as `cancel_on_signals` does in a task."""

    def cancel(number: int, frame: FrameType | None) -> None:
        raise asyncio.CancelledError

    # A user who starts it with nohup wants it to go on when the terminal is closed.
    numbers = [signal.SIGTERM, *([signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else [])]
    before = {number: signal.signal(number, cancel) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_embedded(report: "RayReport") -> None:
    """Prints how many images were embedded by this run."""
    workers = counted(report.workers, "worker")
    echo(f"  {counted(report.embedded, 'image')} embedded by {workers}, {report.kept} by earlier runs")
