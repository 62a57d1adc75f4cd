"""`sightline adapt`: fits a catalog's adapter, weights of its ranking and a verdict from photos of its shop.

Rule: photos are read, embedded and forgotten; neither they nor their embeddings are stored. Exit code 0 when something
is stored, or would be with --dry-run; 1 when it brings nothing or could not be fitted, 2 when what was
asked for is wrong, 130 after Ctrl-C. Only 0 changes the catalog.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from sightline_console.terminal import echo
from sightline_server.cli import engine_options
from sightline_server.cli.adapt_output import Outcome, show, show_removed
from sightline_server.cli.adapt_ranking import NO_FEATURES, RankingFit, described_photos, fitted_ranking, kept_features
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
    from sightline_server.index.opened_catalog import Catalog
    from sightline_server.ingest.adapting.choosing import Choice
    from sightline_server.ingest.adapting.fitting import ShopPhotos
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
    remove: Annotated[
        bool, typer.Option("--remove", help="Search the catalog without adapter, weights and verdict.")
    ] = False,
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
    real. With labels, the weights of ranking are fitted and measured as well where the catalog keeps local features,
    and a verdict that says when a product may be called the same item.
    Nothing is embedded again, and `sightline catalog rollback` goes back. Photos are never kept.
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
    """Embeds, fits, measures and stores. Returns whether something is stored, or would be with --dry-run."""
    from sightline_server.app.ranking_weights import read_weights
    from sightline_server.index.adaptation import Adaptation, encode
    from sightline_server.index.catalog import open_catalog

    opened = open_catalog(path)
    require_no_copy(path)
    asked = photos_of(opened, wanted)
    if not wanted.dry_run:
        require_writable(path)
    labelled = wanted.labels is not None
    kept = kept_features(path, labelled=labelled)
    if labelled:
        read_weights(settings)  # a file that cannot be used is reported before the engine starts
    if labelled and kept is None:
        echo(NO_FEATURES, err=True)
    describe = frozenset[int]() if kept is None else described_photos(len(asked))
    embedded, folder = asyncio.run(
        embed_with_engine(settings, opened.facts.embedder, asked, detect=wanted.detect, describe=describe)
    )
    photos, about = shop_photos(asked, embedded), about_fit(opened, asked, embedded)
    choice, ranking = fitted(opened, photos, about), RankingFit()
    if labelled:
        before, most = read_weights(settings, folder).weights, settings.local_features.most_products
        ranking = fitted_ranking(opened, kept, photos, embedded, choice, before, most)
    about = {**about, "photos": len(photos)}
    adaptation = Adaptation(choice.adapter, ranking.weights(about), ranking.verdict(about))
    revision = None
    if not adaptation.is_empty and not wanted.dry_run:
        revision = stored(path, opened.facts.embedder, encode(adaptation), gain_note(adaptation))
    show(Outcome(choice, ranking, adaptation, revision), path, dry_run=wanted.dry_run, as_json=wanted.as_json)
    return not adaptation.is_empty


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
    settings: "Settings",
    stored_embedder: "EmbedderSpec",
    photos: "list[ShopPhoto]",
    *,
    detect: bool,
    describe: frozenset[int],
) -> "tuple[EmbeddedPhotos, str]":
    """The embeddings of the photos, and the folder of their embedder in the model repository.

    The engine is started and ended; SIGTERM and SIGHUP cancel it. Photos whose numbers are in `describe` get local
    features.
    """
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
                report = partial(echo, err=True)
                return await embedding.embed(photos, report, progress.rows, describe), embedder.role


def shop_photos(asked: "list[ShopPhoto]", embedded: "EmbeddedPhotos") -> "ShopPhotos":
    """The embedded photos, with their products where those are known."""
    from sightline_server.ingest.adapting.fitting import ShopPhotos

    products = None
    if all(each.product is not None for each in asked):
        of_photos = np.array([each.product for each in asked], np.int32)
        products = of_photos[embedded.places]
    return ShopPhotos(embedded.embeddings, products, embedded.places)


def about_fit(catalog: "Catalog", asked: "list[ShopPhoto]", embedded: "EmbeddedPhotos") -> dict[str, Any]:
    """The facts about a fit that are stored with what it makes."""
    return {
        "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "embedder": catalog.facts.embedder.identity,
        "revision": catalog.revision,
        "left_out": len(asked) - len(np.unique(embedded.places)),
    }


def fitted(catalog: "Catalog", photos: "ShopPhotos", about: dict[str, Any]) -> "Choice":
    """The adapter of the catalog by the embedded photos."""
    from sightline_server.ingest.adapting.choosing import choose
    from sightline_server.ingest.adapting.images import ShopImages

    images = ShopImages(catalog.vectors, catalog.owners)
    return choose(photos, images, about=about, say=partial(echo, err=True), tick=lambda: None)


def stored(path: Path, embedder: "EmbedderSpec", adapter: bytes, note: str) -> "Revision":
    """The revision that has what was fitted. Raises `SightlineError` where the catalog has got another embedder."""
    from sightline_server.domain.models import embedder_mismatch
    from sightline_server.index.living import LivingCatalog

    with LivingCatalog(path, actor=actor()) as living:
        if embedder_mismatch(living.embedder, embedder):
            message = f"the catalog at {path} has got another embedder meanwhile; run the command again"
            raise SightlineError(ErrorKind.EMBEDDER_CHANGED, message)
        return living.store.adapt(adapter, note)


def removed(path: Path) -> "Revision":
    """The revision without what was fitted. Raises `SightlineError` of kind CONFIGURATION where there is nothing."""
    from sightline_server.catalog.content import is_living
    from sightline_server.catalog.log import read_current
    from sightline_server.index.catalog import read_facts
    from sightline_server.index.living import LivingCatalog

    if not is_living(path):
        read_facts(path)
    if not is_living(path) or not read_current(path).adapter:
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"the catalog at {path} has no adapter, weights or verdict; there is nothing to remove",
        )
    with LivingCatalog(path, actor=actor()) as living:
        return living.store.adapt(b"", "adapter, weights and verdict removed")
