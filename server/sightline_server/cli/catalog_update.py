"""`sightline catalog update`: prices, stock and texts of products, whose images stay.

Rule: as `upsert`, without an engine: groups are on the disk one after the other, and the end is one new revision.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from sightline_console import server_options
from sightline_console.terminal import echo
from sightline_server.cli import catalog_remote
from sightline_server.cli.build_report import shown_progress
from sightline_server.cli.catalog_changes import STAYS, CatalogFolder, actor, show_revision
from sightline_server.cli.catalog_failures import failures
from sightline_server.counting import counted
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat, checked_currency

if TYPE_CHECKING:
    from sightline_console.remote_catalog import Reach
    from sightline_server.ingest.build import Progress
    from sightline_server.ingest.feed_rows import Problem
    from sightline_server.ingest.updates import UpdateRow
    from sightline_server.ingest.upsert import UpsertReport

    Rows: TypeAlias = Iterable[UpdateRow | Problem]
    Writer: TypeAlias = Callable[[Rows, Progress, str], tuple[UpsertReport, Callable[[], None]]]


def update(
    context: typer.Context,
    feed: Annotated[
        str,
        typer.Argument(
            metavar="FEED",
            help="JSON lines with an id and new values of price, availability, title, brand, product_type, link, "
            "item_group_id or gtin: a path, an http(s) address, or - for standard input.",
        ),
    ],
    catalog: CatalogFolder,
    price_format: Annotated[
        PriceFormat, typer.Option(help="Decimal sign of amounts that can be read in two ways, such as 1.234.")
    ] = PriceFormat.AUTO,
    currency: Annotated[
        str, typer.Option(help="ISO 4217 code of prices that have none or a shared sign ($, kr).")
    ] = "",
    target: catalog_remote.Target = None,
    tls: server_options.Tls = False,
    tls_ca: server_options.TlsCa = None,
    tls_cert: server_options.TlsCert = None,
    tls_key: server_options.TlsKey = None,
    insecure: server_options.Insecure = False,
    token_file: server_options.TokenFile = None,
) -> None:
    """Change prices, stock and texts of products. Their images and embeddings stay, and no engine is started.

    A field that a line does not have, or that is empty, stays as it is. The result is one new revision.
    """
    from sightline_server.ingest.feeds.source import opened_feed
    from sightline_server.ingest.updates import read_updates

    with failures(STAYS):
        reach = catalog_remote.reach_of(target, tls, tls_ca, tls_cert, tls_key, insecure, token_file)
        options = FeedOptions(price_format=price_format, currency=checked_currency(currency))
        with (
            opened_feed(feed, options) as source,
            update_writer(context, reach, catalog) as writer,
            shown_progress(0) as progress,
            closing(read_updates(source, options)) as rows,
        ):
            report, show = writer(rows, progress, source.name)
    echo(f"{catalog}: {counted(report.products, 'product')} changed, {counted(report.skipped, 'row')} skipped")
    show()


@contextmanager
def update_writer(context: typer.Context, reach: "Reach | None", catalog: Path) -> "Iterator[Writer]":
    """Writes updates to a folder, or through a server; each returns its report and how to show the result."""
    from sightline_server.index.living import LivingCatalog
    from sightline_server.ingest.updates import sent_to, update_rows, written_to

    if reach is not None:
        with catalog_remote.reached(context, reach, str(catalog)) as remote:

            def send(rows: "Rows", progress: "Progress", name: str) -> "tuple[UpsertReport, Callable[[], None]]":
                report = update_rows(rows, sent_to(remote), progress, name)
                return report, partial(catalog_remote.show_state, remote.state())

            yield send
        return
    with LivingCatalog(catalog, actor=actor()) as living:

        def write(rows: "Rows", progress: "Progress", name: str) -> "tuple[UpsertReport, Callable[[], None]]":
            report = update_rows(rows, written_to(living), progress, name)
            revision = living.checkpoint(f"update of {counted(report.products, 'product')}")
            return report, partial(show_revision, revision, catalog)

        yield write
