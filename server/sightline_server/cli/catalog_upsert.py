"""`sightline catalog upsert`: adds products to a catalog that exists, or replaces them.

Rule: as in `catalog_changes`; problems of rows go to standard error.
"""

import asyncio
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console import server_options
from sightline_console.terminal import echo
from sightline_server.cli import catalog_remote, engine_options, feed_reading
from sightline_server.cli.build_report import shown_progress
from sightline_server.cli.catalog_changes import STAYS, CatalogFolder, actor, show_revision
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.catalog_feed import FeedRequest
from sightline_server.cli.catalog_options import header_value, parse_headers
from sightline_server.cli.embedding_run import cancel_on_signals, configure_log
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.cli.originals_options import KeepOriginals, LocalFeatures, require_folder
from sightline_server.counting import counted
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat, checked_currency
from sightline_server.settings import Settings

if TYPE_CHECKING:
    from sightline_server.index.living import LivingCatalog
    from sightline_server.ingest.build import BuildOptions
    from sightline_server.ingest.upsert import UpsertReport


def upsert(
    context: typer.Context,
    feed: Annotated[
        str,
        typer.Argument(
            metavar="FEED",
            help="CSV, TSV, JSON, XML or Parquet with Merchant Center columns (a path, an http(s) address, or - for "
            "standard input); with --embedded JSON lines.",
        ),
    ],
    catalog: CatalogFolder,
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded",
            help="FEED is JSON lines of products with ready embeddings: the fields of a feed, and 'embedder' and "
            "'embeddings' (one list of numbers per image). No engine is started.",
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that relative image links start from (default: the feed's folder).", file_okay=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="Header for requests to a feed's address and to the hosts of image links; @FILE reads one a line. "
            "May be repeated.",
        ),
    ] = None,
    user_agent: Annotated[str, typer.Option(help="User-Agent of all requests.")] = "sightline-catalog",
    allow_private_images: feed_reading.AllowPrivateImages = False,
    encoding: feed_reading.Encoding = "",
    price_format: feed_reading.PriceSign = PriceFormat.AUTO,
    currency: feed_reading.Currency = "",
    keep_originals: KeepOriginals = None,
    local_features: LocalFeatures = None,
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
    token_file: server_options.TokenFile = None,
) -> None:
    """Add the products of a feed to a catalog, or replace those of the same id.

    Products that are not in the feed stay. Rows are written in groups; each group is on the disk before the next one is
    read, and at the end they are one new revision. A catalog that was never changed gets a log first; what was built is
    its revision 1. A running server takes the revision with: sightline catalog reload.
    """
    from sightline_server.cli.catalog_send import sent_embedded, sent_feed
    from sightline_server.index.living import LivingCatalog

    with failures(STAYS):
        reach = catalog_remote.reach_of(target, tls, tls_ca, tls_cert, tls_key, insecure, token_file)
        headers = parse_headers(header or [])
        agent = header_value("--user-agent", user_agent)
        feed_options = FeedOptions(
            encoding, price_format, checked_currency(currency), headers=headers, user_agent=agent
        )
        if reach is not None:
            require_folder(keep_originals, local_features)
            request = FeedRequest(feed, catalog, images, strict, allow_private_images, feed_options)
            with catalog_remote.reached(context, reach, str(catalog)) as remote:
                report = sent_embedded(request, remote) if embedded else sent_feed(request, remote)
                state = remote.state()
            echo(f"{catalog}: {counted(report.products, 'product')} written, {counted(report.skipped, 'row')} skipped")
            catalog_remote.show_state(state)
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
        with LivingCatalog(catalog, actor=actor()) as living:
            if keep_originals is not None:
                living.originals.switch(keep_originals)
            if local_features is not None:
                living.features.switch(local_features)
            if embedded:
                report = write_embedded(feed, living, feed_options, strict=strict)
            else:
                options = FeedRequest(feed, catalog, images, strict, allow_private_images, feed_options)
                report = write_feed(settings, options, living)
            revision = living.checkpoint(f"upsert of {counted(report.products, 'product')}")
    echo(f"{catalog}: {counted(report.products, 'product')} written, {counted(report.skipped, 'row')} skipped")
    show_revision(revision, catalog)


def write_embedded(feed: str, living: "LivingCatalog", options: FeedOptions, *, strict: bool) -> "UpsertReport":
    """Writes products with ready embeddings."""
    from sightline_server.ingest.embedded_rows import read_embedded
    from sightline_server.ingest.feeds.source import opened_feed
    from sightline_server.ingest.upsert import upsert_rows

    with (
        opened_feed(feed, options) as source,
        shown_progress(0) as progress,
        closing(read_embedded(source, living, options)) as rows,
    ):
        return upsert_rows(rows, living, progress, source.name, strict=strict)


def write_feed(settings: Settings, request: FeedRequest, living: "LivingCatalog") -> "UpsertReport":
    """Writes the rows of a feed, whose images are embedded by the engine."""
    from dataclasses import replace

    from sightline_server.app.limits import catalog_limits, process_limits
    from sightline_server.ingest.build import BuildOptions
    from sightline_server.ingest.clients import Requests
    from sightline_server.ingest.feeds.download import base_address
    from sightline_server.ingest.feeds.source import opened_feed
    from sightline_server.ingest.images import ImageLimits

    base_url = "" if request.images else base_address(request.feed)
    feed_options = replace(request.options, base_url=base_url)
    decode = catalog_limits(settings)
    with ExitStack() as stack:
        options = BuildOptions(
            feed=stack.enter_context(opened_feed(request.feed, feed_options)),
            feed_options=feed_options,
            out=request.out,
            images=request.images,
            strict=request.strict,
            decode=decode,
            image_limits=ImageLimits(max_bytes=decode.max_bytes),
            decode_threads=settings.decode.threads,
            decode_processes=process_limits(settings.decode),
            requests=Requests(feed_options.user_agent, feed_options.headers),
            allow_private_images=request.private,
        )
        return asyncio.run(write_with_engine(settings, options, living))


async def write_with_engine(settings: Settings, options: "BuildOptions", living: "LivingCatalog") -> "UpsertReport":
    """The upsert between the engine's start and its end; SIGTERM and SIGHUP cancel it."""
    from sightline_server.app.engine import engine_session
    from sightline_server.app.further_embedders import without_text_encoders
    from sightline_server.app.printed_text_models import text_reading_of
    from sightline_server.ingest.embedding import engine_embed
    from sightline_server.ingest.feeds.reader import count_rows
    from sightline_server.ingest.upsert import upsert_feed
    from sightline_server.stages.formats import check_decoders

    cancel_on_signals()
    check_decoders(options.decode.formats)
    total = count_rows(options.feed, options.feed_options)
    async with engine_session(without_text_encoders(settings)) as engine:
        embedder = living.require_embedder(engine.embedders)
        embed = engine_embed(engine, role=engine.embedders.embedder_of(embedder.identity).role)
        with shown_progress(total) as progress:
            return await upsert_feed(options, embedder, embed, living, progress, text_reading_of(settings, engine))
