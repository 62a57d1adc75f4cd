"""The options of `catalog build` and `catalog upsert` that state how a feed is read."""

from typing import Annotated

import typer

from sightline_server.ingest.feeds.options import PriceFormat

Encoding = Annotated[
    str, typer.Option(help="Encoding of a feed without byte order mark, such as cp1252; UTF-8 without this option.")
]
PriceSign = Annotated[
    PriceFormat, typer.Option(help="Decimal sign of amounts that can be read in two ways, such as 1.234.")
]
Currency = Annotated[str, typer.Option(help="ISO 4217 code of prices that have none or a shared sign ($, kr).")]
AllowPrivateImages = Annotated[
    bool,
    typer.Option(
        "--allow-private-images",
        help="Also fetch images from loopback and private addresses (default: public only).",
    ),
]
