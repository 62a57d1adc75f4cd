"""A search's answer as people read it on a terminal: one table per object."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sightline_client.answers import Answer
from sightline_client.events import DetectedObject, Done, MatchLevel, ObjectFailure, RankedProduct, ReasonKind

FILE_WIDTH = 120

LEVELS = {
    MatchLevel.SAME_ITEM: ("same item", "bold green"),
    MatchLevel.SIMILAR: ("similar", "yellow"),
    MatchLevel.WEAK: ("weak", "dim"),
    MatchLevel.UNKNOWN: ("", "dim"),
}


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for a file."""
    made = Console()
    return made if made.is_terminal else Console(width=FILE_WIDTH)


def object_table(number: int, found: DetectedObject, products: Sequence[RankedProduct], limit: int = 10) -> Table:
    """The best `limit` products of one object."""
    table = Table(title=object_title(number, found), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("product", no_wrap=True)
    table.add_column("title", max_width=36)
    shown = products[:limit]
    priced, moved = any(ranked.product.price for ranked in shown), any(why(ranked) for ranked in shown)
    for column in (*(("price",) if priced else ()), "similarity", "score"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("level", no_wrap=True)
    if moved:
        table.add_column("what moved the score", overflow="fold", min_width=24)
    for ranked in shown:
        name, style = LEVELS[ranked.level]
        product = ranked.product
        price = (escape(product.price),) if priced else ()
        figures = (f"{ranked.similarity:.3f}", f"{ranked.score:.3f}")
        cells = (str(ranked.rank), escape(product.id), escape(product.title), *price, *figures, Text(name, style))
        table.add_row(*cells, *((escape(why(ranked)),) if moved else ()))
    return table


def photo_table(name: str, answer: Answer, best: int = 3) -> Table:
    """A whole photo at a glance: the `best` products of each of its objects."""
    took = f"  [dim]{answer.done.timings.total_ms:.0f} ms[/dim]" if answer.done is not None else ""
    title = f"[bold]{escape(name)}[/bold]{took}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    priced = any(ranked.product.price for each in answer.objects for ranked in each.products[:best])
    for column in ("object", "product"):
        table.add_column(column, no_wrap=True)
    table.add_column("title", max_width=36)
    for column in (*(("price",) if priced else ()), "score"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("level", no_wrap=True)
    for number, each in enumerate(answer.objects, 1):
        first = f"[bold]{number}[/bold] {escape(each.object.label or each.object.source.value.replace('_', ' '))}"
        if each.failure is not None or not each.products:
            table.add_row(first, "", escape(each.failure.message) if each.failure is not None else "nothing")
        for ranked in each.products[:best]:
            level, style = LEVELS[ranked.level]
            product = ranked.product
            price = (escape(product.price),) if priced else ()
            names = (escape(product.id), escape(product.title))
            table.add_row(first, *names, *price, f"{ranked.score:.3f}", Text(level, style))
            first = ""
    return table


def object_title(number: int, found: DetectedObject) -> str:
    """Number, label, source and box of an object."""
    label = escape(found.label) if found.label else found.source.value.replace("_", " ")
    score = f" {found.score:.2f}" if found.score > 0 else ""
    edges = ", ".join(f"{edge:.2f}" for edge in (found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max))
    return f"[bold]{number} {label}[/bold]{score}  [dim]box {edges}[/dim]"


def why(ranked: RankedProduct) -> str:
    """What moved the score away from the similarity, in the server's words."""
    moved = (reason for reason in ranked.reasons if reason.kind is not ReasonKind.VISUAL_SIMILARITY)
    return "; ".join(f"{reason.text} ({reason.contribution:+.3f})" for reason in moved)


def show_failure(console: Console, number: int, found: DetectedObject, failure: ObjectFailure) -> None:
    """One object that could not be searched."""
    console.print(f"{object_title(number, found)}  [red]{escape(failure.message)} ({failure.reason.value})[/red]")


def show_done(console: Console, done: Done) -> None:
    """Where the time went, and what answered."""
    times = done.timings
    stages = " | ".join(
        f"{name} {value:.1f}"
        for name, value in (
            ("decode", times.decode_ms),
            ("detect", times.detect_ms),
            ("crop", times.crop_ms),
            ("embed", times.embed_ms),
            ("search", times.search_ms),
            ("rank", times.rank_ms),
        )
    )
    console.print(
        f"[dim]{times.total_ms:.1f} ms ({stages}; of which waiting {times.queue_ms:.1f}); "
        f"catalog {escape(done.catalog_revision)}; request {escape(done.request_id)}[/dim]"
    )
