"""`sightline adapt`: fits a catalog's adapter from photos of its shop, and stores it where it brings something.

Rule: photos are read, embedded and forgotten; neither they nor their embeddings are stored. Exit code 0 when an adapter
is stored, or would be with --dry-run; 1 when it brings nothing or could not be fitted, 2 when what was asked for is
wrong, 130 after Ctrl-C. Only 0 changes the catalog.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from sightline_console.terminal import echo
from sightline_server.cli import engine_options
from sightline_server.cli.adapt_output import show, show_removed
from sightline_server.cli.adapter_text import gain_note
from sightline_server.cli.build_report import shown_progress
from sightline_server.cli.catalog_changes import actor
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.embedding_run import cancel_on_signals, configure_log
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError

if TYPE_CHECKING:
    from sightline_server.app.shop_photos import EmbeddedPhotos
    from sightline_server.catalog.revisions import Revision
    from sightline_server.domain.models import EmbedderSpec
    from sightline_server.index.catalog import Catalog
    from sightline_server.ingest.adapting.choosing import Choice
    from sightline_server.ingest.adapting.labels import ShopPhoto
    from sightline_server.settings import Settings

app = typer.Typer(help="Adapt the search of a catalog to photos of its shop.", add_completion=False)

UNCHANGED = "the catalog is as it was"


class Objects(StrEnum):
    """The part of a photo without a box that is embedded."""

    DETECT = "detect"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The request: photos without labels and their objects, or a table of labels."""

    photos: Path | None
    labels: Path | None
    detect: bool
    dry_run: bool
    as_json: bool


@app.command()
def adapt(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="The catalog's folder.")],
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Photos as callers take them, at least 100; what they show need not be known."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Table of photos with the columns image, product_id and optionally box."),
    ] = None,
    regions: Annotated[
        Objects, typer.Option(help="With --photos: embed each object that is detected, or the whole photo.")
    ] = Objects.DETECT,
    remove: Annotated[bool, typer.Option("--remove", help="Search the catalog without its adapter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and measure, and store nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    triton_url: engine_options.TritonUrl = None,
    triton_tls: engine_options.TritonTls = None,
    triton_tls_ca: engine_options.TritonTlsCa = None,
    triton_tls_cert: engine_options.TritonTlsCert = None,
    triton_tls_key: engine_options.TritonTlsKey = None,
    triton_tls_name: engine_options.TritonTlsName = None,
    triton_insecure: engine_options.TritonInsecure = None,
    device: engine_options.Device = None,
    repository: engine_options.Repository = None,
    config: ConfigFile = None,
) -> None:
    """Adapt the search of a catalog to photos of its shop.

    Photos and catalog images differ in more than what they show. An adapter takes off what all photos have in common,
    and what all images have, and keeps images that resemble everything from coming first. It is fitted on one half of
    the photos and measured on the other, both ways, and stored as a revision of the catalog only where the gain is
    real. Nothing is embedded again, and `sightline catalog rollback` goes back. Photos are never kept.
    """
    with failures(UNCHANGED):
        if (photos is not None) + (labels is not None) + remove != 1:
            raise SightlineError(ErrorKind.CONFIGURATION, "give one of --photos DIR, --labels CSV and --remove")
        if remove:
            if dry_run:
                raise SightlineError(ErrorKind.CONFIGURATION, "--dry-run is for --photos and --labels")
            show_removed(removed(catalog), catalog, as_json=as_json)
            return
        settings = load(
            config,
            engine=engine_options.engine_group(
                triton_url=triton_url,
                triton_tls=triton_tls,
                triton_tls_ca=triton_tls_ca,
                triton_tls_cert=triton_tls_cert,
                triton_tls_key=triton_tls_key,
                triton_tls_name=triton_tls_name,
                triton_insecure=triton_insecure,
                device=device,
                repository=repository,
            ),
        )
        configure_log(settings)
        detect = photos is not None and regions is Objects.DETECT
        kept = run(settings, catalog, Wanted(photos, labels, detect, dry_run, as_json))
    if not kept:
        raise typer.Exit(1)


def run(settings: "Settings", path: Path, wanted: Wanted) -> bool:
    """Embeds, fits, measures and stores. Returns whether an adapter is stored, or would be with --dry-run."""
    from sightline_server.index.adapter_bytes import encode
    from sightline_server.index.catalog import open_catalog

    opened = open_catalog(path)
    require_no_copy(path)
    asked = photos_of(opened, wanted)
    if not wanted.dry_run:
        require_writable(path)
    embedded = asyncio.run(embed_with_engine(settings, opened.facts.embedder, asked, detect=wanted.detect))
    choice = fitted(opened, asked, embedded)
    revision = None
    if choice.adapter is not None and not wanted.dry_run:
        revision = stored(path, opened.facts.embedder, encode(choice.adapter), gain_note(choice.adapter.facts))
    show(choice, revision, path, dry_run=wanted.dry_run, as_json=wanted.as_json)
    return choice.adapter is not None


def photos_of(catalog: "Catalog", wanted: Wanted) -> "list[ShopPhoto]":
    """The photos that were asked for."""
    from sightline_server.ingest.adapting.choosing import LEAST_UNLABELLED
    from sightline_server.ingest.adapting.labels import labelled_photos, photos_in

    if wanted.labels is not None:
        rows = {product: row for row, product in enumerate(catalog.display["id"].to_pylist())}
        return labelled_photos(wanted.labels, rows)
    assert wanted.photos is not None
    found = photos_in(wanted.photos)
    if len(found) < LEAST_UNLABELLED:
        message = (
            f"there are {counted(len(found), 'photo')} in {wanted.photos}, and at least {LEAST_UNLABELLED} are needed "
            "where their products are not known; add more, or label some (--labels)"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return found


def require_no_copy(path: Path) -> None:
    """Raises `SightlineError` for a catalog with a copy in Milvus, which would be searched without the adapter."""
    from sightline_server.index.milvus.binding import FILE, read_binding

    if read_binding(path) is not None:
        message = (
            f"the catalog at {path} has a copy in Milvus, which cannot search by an adapter; serve the catalog from "
            f"its folder and remove {path / FILE} first"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def require_writable(path: Path) -> None:
    """Raises `SightlineError` while another process writes to the catalog, before hours of work and not after."""
    from sightline_server.catalog.content import is_living
    from sightline_server.index.living import LivingCatalog

    if is_living(path):
        with LivingCatalog(path, actor=actor()):
            pass


async def embed_with_engine(
    settings: "Settings", stored_embedder: "EmbedderSpec", photos: "list[ShopPhoto]", *, detect: bool
) -> "EmbeddedPhotos":
    """The embeddings of the photos, between the engine's start and its end; SIGTERM and SIGHUP cancel it."""
    from sightline_server.app.engine import engine_session
    from sightline_server.app.further_embedders import with_embedder
    from sightline_server.app.shop_photos import photo_embedding
    from sightline_server.stages.formats import check_decoders

    cancel_on_signals()
    check_decoders(settings.decode.formats)
    async with engine_session(with_embedder(settings, stored_embedder.identity)) as engine:
        embedder = engine.embedders.bound_to(stored_embedder)
        with shown_progress(len(photos), "photos") as progress:
            async with photo_embedding(settings, engine, embedder, detect=detect) as embedding:
                return await embedding.embed(photos, lambda line: echo(line, err=True), progress.rows)


def fitted(catalog: "Catalog", asked: "list[ShopPhoto]", embedded: "EmbeddedPhotos") -> "Choice":
    """The adapter of the catalog by the embedded photos."""
    from sightline_server.ingest.adapting.choosing import choose
    from sightline_server.ingest.adapting.fitting import ShopPhotos
    from sightline_server.ingest.adapting.images import ShopImages

    products = None
    if all(each.product is not None for each in asked):
        of_photos = np.array([each.product for each in asked], np.int32)
        products = of_photos[embedded.places]
    about = {
        "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "embedder": catalog.facts.embedder.identity,
        "revision": catalog.revision,
        "left_out": len(asked) - len(np.unique(embedded.places)),
    }
    images = ShopImages(catalog.vectors, catalog.owners)
    photos = ShopPhotos(embedded.embeddings, products, embedded.places)
    return choose(photos, images, about=about, say=lambda text: echo(text, err=True), tick=lambda: None)


def stored(path: Path, embedder: "EmbedderSpec", adapter: bytes, note: str) -> "Revision":
    """The revision that has the adapter. Raises `SightlineError` where the catalog has got another embedder."""
    from sightline_server.domain.models import embedder_mismatch
    from sightline_server.index.living import LivingCatalog

    with LivingCatalog(path, actor=actor()) as living:
        if embedder_mismatch(living.embedder, embedder):
            message = f"the catalog at {path} has got another embedder meanwhile; run the command again"
            raise SightlineError(ErrorKind.EMBEDDER_CHANGED, message)
        return living.store.adapt(adapter, note)


def removed(path: Path) -> "Revision":
    """The revision without an adapter. Raises `SightlineError` of kind CONFIGURATION where there is none."""
    from sightline_server.catalog.content import is_living
    from sightline_server.catalog.log import read_current
    from sightline_server.index.catalog import read_facts
    from sightline_server.index.living import LivingCatalog

    if not is_living(path):
        read_facts(path)
    if not is_living(path) or not read_current(path).adapter:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"the catalog at {path} has no adapter; there is nothing to remove"
        )
    with LivingCatalog(path, actor=actor()) as living:
        return living.store.adapt(b"", "adapter removed")
