"""`sightline catalog reembed`: a revision of a catalog whose images are embedded by another embedder.

Rule: the catalog is only read until the end, so others may write to it meanwhile. Exit code 0 when a revision is
prepared, 1 when it could not be, 2 when what was asked for is wrong, 130 after Ctrl-C; what was embedded is kept for
the next run.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console import server_options
from sightline_console.terminal import echo
from sightline_server.cli import catalog_remote, engine_options, feed_reading
from sightline_server.cli.build_report import shown_operation, shown_progress
from sightline_server.cli.catalog_changes import actor, show_counts
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.catalog_options import fraction, header_value, parse_headers
from sightline_server.cli.embedding_run import cancel_on_signals, configure_log
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.cli.views_options import ReembedViews
from sightline_server.counting import counted
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.errors import ErrorKind, SightlineError

if TYPE_CHECKING:
    from sightline_console.remote_catalog import RemoteCatalog
    from sightline_server.catalog.revisions import Revision
    from sightline_server.ingest.reembed.reembed import Embedded, Reembed, ReembedOptions
    from sightline_server.settings import Settings

SEARCH = "Search with it from now on: sightline catalog activate "
ROUNDING = 1e-6
KEPT = "what was embedded is kept for the next run"


def reembed(
    context: typer.Context,
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="The catalog's folder; with --target its name.")],
    embedder: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help="Embedder to use: its folder in the model repository, its name, or NAME@DIGEST."
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder that image links start from which are paths.", file_okay=False)
    ] = None,
    views: ReembedViews = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out products and images that cannot be had.")
    ] = False,
    max_lost: Annotated[
        str,
        typer.Option(
            metavar="PERCENT", help="With --skip-missing: fail when more products or images would be left out."
        ),
    ] = "10",
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="Header for requests to the hosts of image links; @FILE reads one per line. May be repeated.",
        ),
    ] = None,
    user_agent: Annotated[str, typer.Option(help="User-Agent of all requests.")] = "sightline-catalog",
    allow_private_images: feed_reading.AllowPrivateImages = False,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps downloaded images.", file_okay=False)] = None,
    cache_gib: Annotated[float, typer.Option(min=0.0, max=1e6, help="Maximum size of --cache, in GiB.")] = 50.0,
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
    target: catalog_remote.Target = None,
    tls: server_options.Tls = False,
    tls_ca: server_options.TlsCa = None,
    tls_cert: server_options.TlsCert = None,
    tls_key: server_options.TlsKey = None,
    insecure: server_options.Insecure = False,
) -> None:
    """Embed a catalog by another embedder, as a revision that is searched once it is activated.

    Images come from the originals that the catalog keeps, else from the links of its products. The revision is prepared
    next to the current one, which is served meanwhile. Run it again after Ctrl-C, or when the catalog was changed: only
    what is missing is embedded. The embedder may be that of the catalog where --views asks for other views. With
    --target the server embeds: it reads links that are paths below its import folder, and asks public addresses only.
    """
    from sightline_server.app.limits import catalog_limits, process_limits
    from sightline_server.ingest.clients import Requests
    from sightline_server.ingest.image_cache import CacheLimits
    from sightline_server.ingest.images import ImageLimits
    from sightline_server.ingest.reembed.reembed import ReembedOptions

    with failures(KEPT):
        reach = catalog_remote.reach_of(target, tls, tls_ca, tls_cert, tls_key, insecure)
        share = fraction("--max-lost", max_lost)
        if reach is not None:
            local: dict[str, object] = {
                "--images": images,
                "--header": header,
                "--cache": cache,
                "--repository": repository,
                "--views": views,
            }
            local |= {"--allow-private-images": allow_private_images, "--config": config, "--triton-url": triton_url}
            require_none([name for name, value in local.items() if value])
            percent = whole_percentage(share)
            with catalog_remote.reached(context, reach, str(catalog)) as remote:
                reembed_remotely(remote, catalog, embedder, skip_missing=skip_missing, percent=percent)
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
        decode = catalog_limits(settings)
        options = ReembedOptions(
            decode,
            images,
            ImageLimits(max_bytes=decode.max_bytes),
            settings.decode.threads,
            process_limits(settings.decode),
            Requests(header_value("--user-agent", user_agent), parse_headers(header or [])),
            cache,
            CacheLimits(max_bytes=int(cache_gib * 1024**3)),
            allow_private_images,
            skip_missing=skip_missing,
            max_lost=share,
            views=views,
        )
        require_writable(catalog)
        run(settings, catalog, embedder, options)


def require_writable(catalog: Path) -> None:
    """Makes the log of a catalog that has none. Raises `SightlineError` while another process writes to the catalog."""
    from sightline_server.index.living import LivingCatalog

    with LivingCatalog(catalog, actor=actor()):
        pass


def require_none(given: Sequence[str]) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for options that a server does not take."""
    if given:
        message = f"{', '.join(given)} cannot be given with --target: the server reads the images and embeds them"
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def whole_percentage(share: float) -> int:
    """`share` as a server takes it. Raises `SightlineError` of kind CONFIGURATION."""
    percent = round(share * 100)
    if not percent or abs(percent - share * 100) > ROUNDING:
        message = "--max-lost must be a whole percentage from 1 to 100 with --target"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return percent


def reembed_remotely(
    remote: "RemoteCatalog", catalog: Path, embedder: str, *, skip_missing: bool, percent: int
) -> None:
    """Has a running server embed its catalog, and prints the revision that it prepared."""
    with shown_operation("products") as progress:
        made = remote.reembed(embedder, skip_missing=skip_missing, max_lost_percent=percent, progress=progress)
    left_out = f", {counted(made.left_out, 'product')} left out" if made.left_out else ""
    fresh = made.products - made.reused
    echo(f"{catalog}: {counted(fresh, 'product')} embedded by {embedder}, {made.reused} as before{left_out}")
    show_counts(made.revision, made.products, made.images)
    echo(f"{SEARCH}{made.number} --catalog {catalog} --target HOST:PORT", err=True)


def run(settings: "Settings", catalog: Path, embedder: str, options: "ReembedOptions") -> None:
    """Embeds, prepares the revision, and prints it."""
    from sightline_server.index.living import LivingCatalog
    from sightline_server.ingest.reembed.cache import EmbeddingCache

    job, embedded = asyncio.run(embed_with_engine(settings, catalog, embedder, options))
    if (ready := job.work.ready) is not None:
        echo(f"{catalog}: revision {ready.number} has every image of {job.work.content} already")
        show_prepared(catalog, ready, job.work.views)
        return
    with (
        EmbeddingCache(catalog, job.work.embedder, job.work.views) as cache,
        LivingCatalog(catalog, actor=actor()) as living,
    ):
        revision = job.prepare(cache, living, lambda done: None)
    lost = embedded.losses
    left_out = f", {counted(lost.rows_lost, 'product')} and {counted(lost.images_lost, 'image')} left out"
    echo(
        f"{catalog}: {counted(job.work.missing - lost.rows_lost, 'product')} embedded by {job.work.embedder.identity}, "
        f"{job.work.reused} as before{left_out if lost.images_lost else ''}"
    )
    show_prepared(catalog, revision, job.work.views)


async def embed_with_engine(
    settings: "Settings", catalog: Path, embedder: str, options: "ReembedOptions"
) -> "tuple[Reembed, Embedded]":
    """The embedding between the engine's start and its end; SIGTERM and SIGHUP cancel it."""
    from sightline_server.app.engine import engine_session
    from sightline_server.app.further_embedders import with_embedder
    from sightline_server.ingest.embedding import engine_embed
    from sightline_server.ingest.reembed.cache import EmbeddingCache
    from sightline_server.ingest.reembed.reembed import Reembed
    from sightline_server.stages.formats import check_decoders

    cancel_on_signals()
    check_decoders(options.decode.formats)
    async with engine_session(with_embedder(settings, embedder)) as engine:
        model = engine.embedders.named(embedder)
        job = await asyncio.to_thread(Reembed, catalog, model.spec, options)
        with (
            EmbeddingCache(catalog, model.spec, job.work.views) as cache,
            shown_progress(job.work.missing, "products") as progress,
        ):
            return job, await job.embed(cache, engine_embed(engine, role=model.role), progress)


def show_prepared(catalog: Path, revision: "Revision", views: int) -> None:
    """Prints a revision that can be activated, with so many `views` of each image, and how."""
    show_counts(revision.name, revision.rows, revision.items, "image" if views == ONE_VIEW else "vector")
    echo(f"{SEARCH}{revision.number} --catalog {catalog}", err=True)
