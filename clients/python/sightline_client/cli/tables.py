"""A search's answer as people read it on a terminal: one table per object.

Rule: every text of the server's goes through `text`, so that it cannot control the terminal or act as markup.
"""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline_client.answers import Answer
from sightline_client.events import (
    DetectedObject,
    Done,
    MatchLevel,
    Notice,
    ObjectFailure,
    RankedProduct,
    ReasonKind,
    SkippedStep,
)
from sightline_console.terminal import printable

FILE_WIDTH = 120

LEVELS = {
    MatchLevel.SAME_ITEM: ("same item", "bold green"),
    MatchLevel.SIMILAR: ("similar", "yellow"),
    MatchLevel.WEAK: ("weak", "dim"),
    MatchLevel.UNKNOWN: ("", "dim"),
}

NOTICES = {Notice.PERSON_ONLY: "the photo shows people and no product; people are not searched"}
"""Each notice as a message."""


SKIPPED = {
    SkippedStep.CODES: "barcodes and QR codes were not read: the deadline was too near, or the reader failed",
    SkippedStep.LOCAL_FEATURES: "local features of an object were not compared: the deadline was too near, or the "
    "comparison failed",
    SkippedStep.LOOK_CLOSER: "smaller objects were not searched for: no time, a busy server, or the detector failed",
    SkippedStep.PRINTED_TEXT: "the printed text of an object was not read: no time, a busy server, or a model failed",
}
"""Each step that was left out as a message."""


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for a file."""
    made = Console()
    return made if made.is_terminal else Console(width=FILE_WIDTH)


def text(value: str, style: str = "") -> Text:
    """A text of the server's or a file's, with no markup and no control characters."""
    return Text(printable(value), style)


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
        price = (text(product.price),) if priced else ()
        figures = (f"{ranked.similarity:.3f}", f"{ranked.score:.3f}")
        cells = (str(ranked.rank), text(product.id), text(product.title), *price, *figures, Text(name, style))
        table.add_row(*cells, *((text(why(ranked)),) if moved else ()))
    return table


def photo_table(name: str, answer: Answer, best: int = 3) -> Table:
    """A whole photo at a glance: the `best` products of each of its objects."""
    took = f"  {answer.done.timings.total_ms:.0f} ms" if answer.done is not None else ""
    title = Text.assemble(text(name, "bold"), (took, "dim"))
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    priced = any(ranked.product.price for each in answer.objects for ranked in each.products[:best])
    for column in ("object", "product"):
        table.add_column(column, no_wrap=True)
    table.add_column("title", max_width=36)
    for column in (*(("price",) if priced else ()), "score"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("level", no_wrap=True)
    if answer.done is not None and answer.done.notice in NOTICES:
        table.caption, table.caption_justify = text(NOTICES[answer.done.notice]), "left"
    for number, each in enumerate(answer.objects, 1):
        first = Text.assemble((str(number), "bold"), " ", text(label(each.object)))
        if each.failure is not None or not each.products:
            table.add_row(first, "", text(each.failure.message if each.failure is not None else "nothing"))
        for ranked in each.products[:best]:
            level, style = LEVELS[ranked.level]
            product = ranked.product
            price = (text(product.price),) if priced else ()
            names = (text(product.id), text(product.title))
            table.add_row(first, *names, *price, f"{ranked.score:.3f}", Text(level, style))
            first = Text()
    return table


def found(objects: int, redacted: int, *, further: bool = False) -> str:
    """The number of objects in the photo, or of `further` ones, and of people who were greyed out."""
    people = f", {redacted} {'person' if redacted == 1 else 'people'} greyed out" if redacted else ""
    return f"{objects} {'further ' if further else ''}object{'s' if objects != 1 else ''}{people}"


def label(found: DetectedObject) -> str:
    """The detector's label of an object, or else where the object comes from."""
    return found.label or found.source.value.replace("_", " ")


def object_title(number: int, found: DetectedObject) -> Text:
    """Number, label, source and box of an object."""
    score = f" {found.score:.2f}" if found.score > 0 else ""
    edges = ", ".join(f"{edge:.2f}" for edge in (found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max))
    return Text.assemble(text(f"{number} {label(found)}", "bold"), score, (f"  box {edges}", "dim"))


def why(ranked: RankedProduct) -> str:
    """The reasons that changed the score, in the server's text."""
    moved = (reason for reason in ranked.reasons if reason.kind is not ReasonKind.VISUAL_SIMILARITY)
    return "; ".join(f"{reason.text} ({reason.contribution:+.3f})" for reason in moved)


def show_nothing(console: Console, number: int, found: DetectedObject) -> None:
    """One object for which no product of the catalog is in the answer."""
    console.print(Text.assemble(object_title(number, found), ("  no product matches", "dim")))


def show_failure(console: Console, number: int, found: DetectedObject, failure: ObjectFailure) -> None:
    """One object that could not be searched."""
    problem = text(f"  {failure.message} ({failure.reason.value})", "red")
    console.print(Text.assemble(object_title(number, found), problem))


def plan_of(done: Done) -> str:
    """The number of products that match the filter, and the way of the search."""
    plan = done.filter_plan
    return "" if plan is None else f": {plan.products} products match ({plan.kind.value})"


def show_done(console: Console, done: Done) -> None:
    """The notice, where the time went, and what answered."""
    if done.notice in NOTICES:
        console.print(text(NOTICES[done.notice]))
    for step in done.skipped:
        console.print(text(SKIPPED.get(step, "a step of the search was left out"), "dim"))
    if done.applied_filter:
        console.print(text(f"filter {done.applied_filter}{plan_of(done)}", "dim"))
    if done.text_weight:
        console.print(text(f"text of weight {done.text_weight:.2g}", "dim"))
    times = done.timings
    stages = " | ".join(f"{name} {value:.1f}" for name, value in times.stages.items())
    facts = (
        f"{times.total_ms:.1f} ms ({stages}; of which waiting {times.queue_ms:.1f}); "
        f"catalog {' '.join(filter(None, (done.catalog, done.catalog_revision)))}; request {done.request_id}"
    )
    console.print(text(facts, "dim"))
