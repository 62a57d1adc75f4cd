"""The prerequisites of the demo: engine, models and the catalog of the sample feed.

Rule: everything here is idempotent; the catalog is built again only when the feed, an image, the embedder or this
release has changed.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.errors import ModelError
from sightline_models.places import default_repository
from sightline_models.pull import pull
from sightline_models.store import inspect
from sightline_server.cli.catalog_build import build_with_engine
from sightline_server.cli.loading import load
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings

PICTURES = (".jpg", ".jpeg", ".png", ".webp")

Say = Callable[[str], None]


def ensure(feed: Path, say: Say) -> Path:
    """Sets up what is missing and returns the folder of an up-to-date catalog. Raises `SightlineError`."""
    settings = load()
    repository = _set_up(settings, say)
    catalog = settings.home_folder / "catalogs" / "showroom"
    stamp, wanted = catalog.with_name("showroom.stamp"), _digest(feed, repository)
    if catalog.is_dir() and stamp.is_file() and stamp.read_text() == wanted:
        say(f"catalog: up to date in {catalog}")
        return catalog
    stamp.unlink(missing_ok=True)
    _build(settings, feed, catalog, say)
    stamp.write_text(wanted)
    return catalog


def _set_up(settings: Settings, say: Say) -> Path:
    """The engine, unless a running Triton is used, and the models; returns the model repository."""
    from sightline_server.app.embedded import install_engine

    repository = settings.engine.repository or default_repository(settings.home_folder)
    if settings.engine.triton_url is None:
        install_engine(settings.home_folder, say)
    try:
        pull(repository, settings.home_folder, lambda step: say(f"models: {step.model.name}, {step.step.value}"))
    except ModelError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, str(error)) from error
    return repository


def _build(settings: Settings, feed: Path, catalog: Path, say: Say) -> None:
    from sightline_server.app.limits import catalog_limits, process_limits
    from sightline_server.ingest.build import BuildOptions

    options = BuildOptions(
        feed=feed,
        out=catalog,
        decode=catalog_limits(settings),
        replace=True,
        decode_threads=settings.decode.threads,
        decode_processes=process_limits(settings.decode),
    )
    catalog.parent.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(build_with_engine(settings, options))
    say(f"catalog: {report.products} products, {report.images} images, {len(report.skipped)} rows skipped")


def _digest(feed: Path, repository: Path) -> str:
    """One digest of all that the catalog is made of."""
    whole = hashlib.sha256(version("sightline").encode())
    for model in DEFAULT_MODELS:
        whole.update(inspect(repository, model).found.encode())
    for path in (feed, *_pictures(feed.parent)):
        whole.update(path.name.encode() + b"\0")
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _pictures(folder: Path) -> Iterator[Path]:
    """The images next to the feed, except for the photos."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    return iter(sorted(path for path in found if path.relative_to(folder).parts[0] != "photos"))
