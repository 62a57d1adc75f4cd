"""The last event of a search: its times, its revision, its models, and what was left out."""

from sightline_server.domain.events import Done, Notice, SkippedStep
from sightline_server.search.under_way import QueryT, Search


def done(
    search: Search[QueryT], detector: str, notice: Notice | None = None, skipped: tuple[SkippedStep, ...] = ()
) -> Done:
    """The event that ends `search`; `detector` is the identity of the one that ran, or an empty text."""
    snapshot = search.snapshot
    return Done(
        timings=search.watch.timings(),
        catalog=snapshot.name,
        catalog_revision=snapshot.revision,
        detector=detector,
        embedder=search.embedder.spec.identity,
        request_id=search.query.request_id,
        notice=notice,
        applied_filter=snapshot.applied_filter,
        skipped=skipped,
        text_weight=search.text.weight if search.text is not None else 0.0,
    )
