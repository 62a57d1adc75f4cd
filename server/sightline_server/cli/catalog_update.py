"""`sightline catalog update`: prices, stock and texts of products, whose images stay.

Rule: as `upsert`, without an engine: groups are on the disk one after the other, and the end is one new revision.
"""

from contextlib import closing
from typing import Annotated

import typer

from sightline_console.terminal import echo
from sightline_server.cli.build_report import shown_progress
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.catalog_write import STAYS, CatalogFolder, actor, show_revision
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat, checked_currency


def update(
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
) -> None:
    """Change prices, stock and texts of products. Their images and embeddings stay, and no engine is started.

    A field that a line does not have, or that is empty, stays as it is. The result is one new revision.
    """
    from sightline_server.index.living import LivingCatalog
    from sightline_server.ingest.feeds.source import opened_feed
    from sightline_server.ingest.updates import read_updates, update_rows

    with failures(STAYS):
        options = FeedOptions(price_format=price_format, currency=checked_currency(currency))
        with (
            opened_feed(feed, options) as source,
            LivingCatalog(catalog, actor=actor()) as living,
            shown_progress(0) as progress,
            closing(read_updates(source, options)) as rows,
        ):
            report = update_rows(rows, living, progress, source.name)
            revision = living.checkpoint(f"update of {report.products} products")
    echo(f"{catalog}: {report.products} products changed, {report.skipped} rows skipped")
    show_revision(revision)
