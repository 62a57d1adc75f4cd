"""`sightline search PHOTO`: searches one photo and shows each object with its products."""

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sightline_client import annotate, convert, credentials, events
from sightline_client.cli import connection, tables
from sightline_client.cli.regions import parse_box, parse_point
from sightline_client.errors import SightlineError
from sightline_client.filter_text import FilterTextError, parse_filter
from sightline_client.filters import Filter
from sightline_client.options import DEFAULT_TARGET, ClientOptions
from sightline_client.sync import Client
from sightline_client.values import INT32_MAX
from sightline_console.terminal import echo, echo_lines

if TYPE_CHECKING:
    from io import BufferedReader


def search(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="An image file, or - for standard input.")],
    target: connection.Target = DEFAULT_TARGET,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="x0,y0,x1,y1", help="Search this box, in fractions of the photo; repeatable."),
    ] = None,
    tap: Annotated[
        list[str] | None,
        typer.Option(
            "--tap", metavar="x,y", help="Search the object at this point, in fractions of the photo; repeatable."
        ),
    ] = None,
    max_objects: Annotated[
        int,
        typer.Option(
            "--max-objects", min=0, max=INT32_MAX, help="Maximum number of objects; 0 is the server's default."
        ),
    ] = 0,
    max_products: Annotated[
        int,
        typer.Option(
            "--max-products",
            min=0,
            max=INT32_MAX,
            help="Maximum number of products per object; 0 is the server's default.",
        ),
    ] = 0,
    catalog: Annotated[
        str, typer.Option("--catalog", help="Name of one of the server's catalogs; empty is its default.")
    ] = "",
    one_per_group: Annotated[
        bool | None,
        typer.Option(
            "--one-per-group/--no-one-per-group",
            help="Show one product of each item_group_id (default: as the server is set).",
        ),
    ] = None,
    look_closer: Annotated[
        bool,
        typer.Option(
            "--look-closer", help="After the first answer, look for smaller objects in parts of the photo as well."
        ),
    ] = False,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="A text in addition to the photo, such as --text 'in blue'. It needs a text encoder of the "
            "catalog's embedder.",
        ),
    ] = None,
    text_weight: Annotated[
        float | None,
        typer.Option("--text-weight", min=0.0, max=1.0, help="Weight of --text, 0..1 (default: the server's, 0.3)."),
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="CONDITIONS",
            help="Return only products that meet all CONDITIONS: 'brand=Kilnside price<=50 USD available', or "
            "'category=\"Furniture > Chairs\" color=red,blue id!=p1'. Names are brand, category, price, availability, "
            "id, group and attributes of the products.",
        ),
    ] = None,
    grant_file: Annotated[
        Path | None,
        typer.Option(
            "--grant-file", metavar="FILE", help="File with a consent grant for this photo, as `grant issue` prints it."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON, as it arrives.")] = False,
    annotated: Annotated[
        Path | None, typer.Option("--annotate", metavar="OUT.png", help="Write the photo with its boxes drawn.")
    ] = None,
    timeout: connection.Timeout = 10.0,
    tls: connection.Tls = False,
    tls_ca: connection.TlsCa = None,
    tls_cert: connection.TlsCert = None,
    tls_key: connection.TlsKey = None,
    insecure: connection.Insecure = False,
    token_file: connection.TokenFile = None,
) -> None:
    """Find the products of a catalog in one photo."""
    data = read_photo(photo)
    wanted = _regions(box or [], tap or [])
    conditions = _conditions(filter)
    detected: list[events.DetectedObject] = []
    try:
        reach = connection.options(
            *(target, timeout),
            tls=tls,
            ca=tls_ca,
            cert=tls_cert,
            key=tls_key,
            insecure=insecure,
            token_file=token_file,
        )
        with (
            Client(reach) as client,
            closing(
                client.search(
                    data,
                    regions=wanted,
                    catalog=catalog,
                    max_objects=max_objects,
                    max_products=max_products,
                    one_per_group=one_per_group,
                    look_closer=look_closer,
                    text=text,
                    text_weight=text_weight,
                    filter=conditions,
                    grant=None if grant_file is None else credentials.read_token(grant_file),
                )
            ) as stream,
        ):
            for event in _noting(stream, detected):
                _print_json(event) if json else _print_table(event, detected)
    except SightlineError as error:
        connection.fail(error)
    if annotated is not None:
        _annotate(data, detected, annotated)


def read_photo(photo: str) -> bytes:
    """The bytes of the file, or of standard input for `-`. Raises `typer.BadParameter`."""
    try:
        return _standard_input() if photo == "-" else _file(Path(photo))
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise typer.BadParameter(f"cannot read {photo}: {reason}", param_hint="PHOTO") from None


def _file(photo: Path) -> bytes:
    if photo.is_file():
        return photo.read_bytes()
    # A named pipe, which the shell's `<(command)` makes, or a device, which may never end.
    with photo.open("rb") as source:
        return _in_parts(source)


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise ValueError("standard input is closed")
    return _in_parts(cast("BufferedReader", sys.stdin.buffer))


def _in_parts(source: "BufferedReader") -> bytes:
    # Because Python notices Ctrl-C only between two reads; and no more than is needed to be refused.
    parts, missing = [], ClientOptions().max_photo_bytes + 1
    while missing > 0 and (part := source.read1(min(missing, 1 << 16))):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _regions(boxes: list[str], taps: list[str]) -> list[events.Region]:
    try:
        return [*(parse_box(text) for text in boxes), *(parse_point(text) for text in taps)]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--box / --tap") from None


def _conditions(text: str | None) -> Filter:
    """The filter of the option; an empty one is refused, because it is probably a variable that is not set."""
    if text is None:
        return Filter()
    if not text.strip():
        raise typer.BadParameter("it is empty; name a condition, or leave the option out", param_hint="--filter")
    try:
        return parse_filter(text)
    except FilterTextError as error:
        # Not as an option's error, which typer wraps: the caret has to stay below its character.
        echo_lines(f"sightline: --filter: {error.message}\n{error.shown}", err=True)
        raise typer.Exit(2) from None


def _noting(stream: Iterable[events.Event], detected: list[events.DetectedObject]) -> Iterable[events.Event]:
    for event in stream:
        if isinstance(event, events.Detected):
            detected.extend(event.objects)
        yield event


def _print_json(event: events.Event) -> None:
    sys.stdout.write(convert.event_to_json(event) + "\n")
    sys.stdout.flush()


def _print_table(event: events.Event, detected: list[events.DetectedObject]) -> None:
    console = tables.console()
    numbered = {found.object_id: (number, found) for number, found in enumerate(detected, 1)}
    match event:
        case events.Detected():
            console.print(tables.found(len(event.objects), event.redacted, further=event.further))
        case events.ObjectResults(products=()) if event.object_id in numbered:
            tables.show_nothing(console, *numbered[event.object_id])
        case events.ObjectResults() if event.object_id in numbered:
            console.print(tables.object_table(*numbered[event.object_id], event.products, limit=100))
        case events.ObjectFailure() if event.object_id in numbered:
            tables.show_failure(console, *numbered[event.object_id], event)
        case events.Done():
            tables.show_done(console, event)


def _annotate(photo: bytes, detected: list[events.DetectedObject], out: Path) -> None:
    try:
        annotate.draw(annotate.upright(photo), detected).save(out)
    except (OSError, ValueError) as error:
        echo(f"sightline: cannot write {out}: {error}", err=True)
        raise typer.Exit(1) from None
