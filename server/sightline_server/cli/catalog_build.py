"""`sightline catalog build`: a catalog made of a product feed, in this process or on a Ray cluster.

Rule: what was asked for is checked before the engine starts. What loads the models' and the index's libraries is
imported late, so that `--help` does not load them.
"""

import asyncio
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console.terminal import echo
from sightline_server.cli import engine_options, feed_reading
from sightline_server.cli.build_report import shown_progress, summary
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.catalog_index import choose_for_large
from sightline_server.cli.catalog_on_ray import (
    Address,
    CheckpointFolder,
    On,
    Workers,
    build_with_ray,
    checkpoint_folder,
    require_ray,
    show_embedded,
)
from sightline_server.cli.catalog_options import fraction, header_value, parse_headers
from sightline_server.cli.catalog_replacing import revisions_to_discard
from sightline_server.cli.embedding_run import cancel_on_signals, configure_log
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.cli.originals_options import KeepOriginals, LocalFeatures
from sightline_server.cli.views_options import BuildViews
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat, checked_currency
from sightline_server.settings import Settings

if TYPE_CHECKING:
    from sightline_server.ingest.build import BuildOptions, BuildReport


def build(
    feed: Annotated[
        str,
        typer.Argument(
            metavar="FEED",
            help="CSV, TSV, JSON, XML (RSS, Atom) or Parquet with Merchant Center columns, also as .gz or .zip: "
            "a path, an http(s) address, or - for standard input.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the catalog to.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that relative image links start from (default: the feed's folder).", file_okay=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the catalog that is at --out.")] = False,
    discard_revisions: Annotated[
        bool,
        typer.Option(
            "--discard-revisions", help="With --replace: also replace a catalog that was changed since it was built."
        ),
    ] = False,
    max_lost: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Fail and keep the old catalog when more rows or images are lost (default: 10 with --replace).",
        ),
    ] = None,
    max_shrink: Annotated[
        str,
        typer.Option(
            metavar="PERCENT", help="With --replace: fail when the new catalog has fewer products or images by more."
        ),
    ] = "30",
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="Header for requests to a feed's address and to the hosts of image links; @FILE reads one per line. "
            "May be repeated.",
        ),
    ] = None,
    user_agent: Annotated[str, typer.Option(help="User-Agent of all requests.")] = "sightline-catalog",
    allow_private_images: feed_reading.AllowPrivateImages = False,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps downloaded images, so that a later build can resume.", file_okay=False),
    ] = None,
    cache_gib: Annotated[float, typer.Option(min=0.0, max=1e6, help="Maximum size of --cache, in GiB.")] = 50.0,
    keep_originals: KeepOriginals = None,
    local_features: LocalFeatures = None,
    views: BuildViews = None,
    encoding: feed_reading.Encoding = "",
    price_format: feed_reading.PriceSign = PriceFormat.AUTO,
    currency: feed_reading.Currency = "",
    triton_url: engine_options.TritonUrl = None,
    triton_tls: engine_options.TritonTls = None,
    triton_tls_ca: engine_options.TritonTlsCa = None,
    triton_tls_cert: engine_options.TritonTlsCert = None,
    triton_tls_key: engine_options.TritonTlsKey = None,
    triton_tls_name: engine_options.TritonTlsName = None,
    triton_insecure: engine_options.TritonInsecure = None,
    device: engine_options.Device = None,
    repository: engine_options.Repository = None,
    embedder: engine_options.Embedder = None,
    on: On = None,
    address: Address = None,
    workers: Workers = None,
    checkpoint: CheckpointFolder = None,
    config: ConfigFile = None,
) -> None:
    """Build a catalog from a product feed.

    A bad row is reported with its row number and skipped; a part that cannot be used, such as a price, is reported and
    left out. Without --replace an existing folder is left alone; with it, a build that lost too much fails and the old
    catalog stays. A catalog that was changed since it was built has revisions to go back to; --replace throws them away
    only with --discard-revisions.
    """
    from sightline_server.app.limits import catalog_limits, index_policy, process_limits
    from sightline_server.ingest.build import BuildOptions
    from sightline_server.ingest.clients import Requests
    from sightline_server.ingest.feeds.download import base_address
    from sightline_server.ingest.feeds.source import opened_feed
    from sightline_server.ingest.image_cache import CacheLimits
    from sightline_server.ingest.images import ImageLimits

    embedded_in = checkpoint_folder(checkpoint, out)
    stays = f"; what was embedded is in {embedded_in}: the same command goes on from there" if on else ""
    with failures(f"no catalog was written{stays}"), ExitStack() as stack:
        require_ray(on, {"--address": address, "--workers": workers, "--checkpoint": checkpoint})
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
        discarded = revisions_to_discard(out, replace=replace, agreed=discard_revisions)
        decode = catalog_limits(settings)
        # Relative links of a downloaded feed are relative to its address, unless a folder is named.
        requests = Requests(header_value("--user-agent", user_agent), parse_headers(header or []))
        feed_options = FeedOptions(
            encoding,
            price_format,
            checked_currency(currency),
            headers=requests.headers,
            user_agent=requests.user_agent,
            base_url="" if images else base_address(feed),
        )
        source = stack.enter_context(opened_feed(feed, feed_options))
        options = BuildOptions(
            feed=source,
            feed_options=feed_options,
            out=out,
            images=images,
            strict=strict,
            replace=replace,
            decode=decode,
            image_limits=ImageLimits(max_bytes=decode.max_bytes),
            decode_threads=settings.decode.threads,
            decode_processes=process_limits(settings.decode),
            max_lost=None if max_lost is None else fraction("--max-lost", max_lost),
            max_shrink=fraction("--max-shrink", max_shrink),
            requests=requests,
            cache=cache,
            cache_limits=CacheLimits(max_bytes=int(cache_gib * 1024**3)),
            allow_private_images=allow_private_images,
            keep_originals=keep_originals,
            local_features=local_features,
            views=views,
            default_views=settings.server.image_views,
        )
        started = time.monotonic()
        if on:
            on_ray = build_with_ray(settings, options, embedder, address, workers, embedded_in)
            report = on_ray.report
        else:
            on_ray, report = None, asyncio.run(build_with_engine(settings, options, embedder))
    for line in summary(report, out, time.monotonic() - started):
        echo(line)
    if on_ray:
        show_embedded(on_ray)
    if discarded:
        echo(f"  discarded: {discarded} of the catalog that was there")
    with failures("the catalog is built; exact search is used until an index is chosen"):
        choose_for_large(out, index_policy(settings.index))


async def build_with_engine(settings: Settings, options: "BuildOptions", embedder: str | None = None) -> "BuildReport":
    """The build between the engine's start and its end, by the embedder that is named, else the first.

    SIGTERM and SIGHUP cancel it as Ctrl-C does.
    """
    from sightline_server.app.engine import engine_session
    from sightline_server.app.further_embedders import with_embedder
    from sightline_server.app.printed_text_models import text_reading_of
    from sightline_server.index.staging import check_target
    from sightline_server.ingest.build import build_catalog
    from sightline_server.ingest.embedding import engine_embed
    from sightline_server.ingest.feeds.reader import count_rows
    from sightline_server.stages.formats import check_decoders

    cancel_on_signals()
    # Before the engine starts: a mistyped feed, folder or setting is reported at once.
    check_target(options.out, replace=options.replace)
    check_decoders(options.decode.formats)
    total = count_rows(options.feed, options.feed_options)
    async with engine_session(with_embedder(settings, embedder)) as engine:
        chosen = engine.embedders.named(embedder) if embedder else engine.embedders.first
        with shown_progress(total) as progress:
            embed = engine_embed(engine, role=chosen.role)
            read_text = text_reading_of(settings, engine)
            return await build_catalog(options, chosen.spec, embed, datetime.now(UTC), progress, read_text=read_text)
