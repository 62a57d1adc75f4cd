"""The description of published operations, the revisions that continue each other, and the end of a log."""

from dataclasses import replace
from pathlib import Path

import pytest

from sightline_server.catalog.log_tail import read_log_tail
from sightline_server.catalog.revisions import Revision, RevisionKind
from sightline_server.index.living import LivingCatalog
from sightline_server.index.replication import operations_publisher as publishing
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.lineage import continues
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.segment import decoded, encoded
from sightline_server.index.replication.tail import Segment, Tail
from tests.support.catalogs import row, unit_vectors
from tests.support.replicas import Site

NAME, SHA = "0123456789abcdef", "ab" * 32


def segment(first: int, last: int) -> Segment:
    return Segment(first, last, 10, SHA, "2026-11-27T12:00:00.000+00:00")


TAIL = Tail(NAME, 3, 2, 10, 5, "cd", (segment(6, 9), segment(10, 12), segment(13, 13)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.build()
    site.change("first")
    site.publish()
    return site


def current(site: Site) -> Description:
    return Description.parse((site.share / "CURRENT").read_bytes())


def test_description_is_read_as_it_was_written() -> None:
    assert Tail.parse(TAIL.to_bytes()) == TAIL
    assert TAIL.last == 13
    assert replace(TAIL, segments=()).last == 5


@pytest.mark.parametrize(
    ("seq", "firsts"), [(5, [6, 10, 13]), (9, [10, 13]), (11, [10, 13]), (12, [13]), (13, []), (20, []), (4, [])]
)
def test_segments_after_an_operation_begin_with_the_next_one(seq: int, firsts: list[int]) -> None:
    assert [each.first for each in TAIL.after(seq)] == firsts


def test_new_revision_keeps_the_segments_since_the_one_before(site: Site) -> None:
    description = current(site)
    tail = replace(TAIL, publication=description.publication, sequence=description.sequence, since=1)
    later = replace(description, sequence=description.sequence + 1, since=1)
    kept = tail.rebased(later)
    assert [each.first for each in kept.segments] == [10, 13]
    assert (kept.start, kept.sequence, kept.mark) == (9, later.sequence, "cd")
    rolled_back = replace(later, since=later.sequence)
    assert tail.rebased(rolled_back) == Tail.on(rolled_back), "a rollback starts a new series"
    assert tail.rebased(description) is tail
    assert tail.rebased(replace(later, publication="f" * 16)).segments == ()


def test_segments_of_an_earlier_revision_are_kept_for_a_restart() -> None:
    later = replace(TAIL, sequence=4, base_seq=13, start=12, segments=(segment(13, 13), segment(14, 15)))
    assert [each.first for each in later.joined(TAIL, 7).segments] == [6, 10, 13, 14]
    assert [each.first for each in later.joined(TAIL, 11).segments] == [10, 13, 14]
    assert later.joined(TAIL, 12) == later
    assert later.joined(None, 7) == later
    assert later.joined(replace(TAIL, since=1), 7) == later, "another history"
    gap = replace(later, start=13, segments=(segment(14, 15),))
    assert gap.joined(replace(TAIL, segments=TAIL.segments[:1]), 5) == gap


def revision(number: int, kind: RevisionKind = RevisionKind.CHECKPOINT, generation: int = 1) -> Revision:
    digest = f"{number:064x}"[::-1]
    return Revision(number, number, number * 10, digest, 5, 5, 1, "2026-11-27", kind, generation=generation)


@pytest.mark.parametrize(
    ("later", "wanted"),
    [
        ((), True),
        ((revision(3),), True),
        ((revision(4), revision(3)), True),
        ((revision(4), revision(3, RevisionKind.PREPARED)), True),
        ((revision(4), revision(3, RevisionKind.ROLLBACK)), False),
        ((revision(3, RevisionKind.ADAPTED),), False),
        ((revision(3, generation=2),), False),
    ],
)
def test_only_checkpoints_continue_a_revision(later: tuple[Revision, ...], wanted: bool) -> None:
    revisions = (*later, revision(2), revision(1, RevisionKind.BUILD))
    assert continues(revision(2).name, revisions) is wanted
    assert not continues("9-000000000000", revisions), "a revision that the catalog does not have"


def test_end_of_a_log_is_read_within_its_bounds(site: Site) -> None:
    with LivingCatalog(site.shop) as living:
        for number in range(4):
            living.upsert([row(f"n{number}", unit_vectors(1, number))])
        found = read_log_tail(site.shop, 2, most=2, most_bytes=1 << 20)
        assert [each[0] for each in found.rows] == [3, 4]
        assert (found.last_seq, found.current.number) == (5, 2)
        assert found.mark is not None
        one = read_log_tail(site.shop, 1, most=9, most_bytes=1)
        assert [each[0] for each in one.rows] == [2], "one alone may exceed the bound"
        assert one.mark is None, "operation 1 is in the revision"


def test_operations_of_a_segment_are_those_of_the_log(site: Site) -> None:
    with LivingCatalog(site.shop) as living:
        living.upsert([row("second", unit_vectors(2, 3), title="é")])
        living.delete(["p0"])
        rows = read_log_tail(site.shop, 1, most=9, most_bytes=1 << 20).rows
        layout = living.store.layout
        first, second = decoded(encoded(rows), 2, 3, layout)
    assert (first.id, second.id, second.row) == ("second", "p0", None)
    assert first.row is not None
    assert first.row.schema == layout.schema
    changed = [(*rows[0][:3], b"other", rows[0][4]), rows[1]]
    for bad in (changed, rows[:1], rows[::-1]):
        with pytest.raises(NotFollowedError) as refused:
            decoded(encoded(bad), 2, 3, layout)
        assert refused.value.reason is Reason.DAMAGED


def test_operations_are_kept_for_a_checkpoint_within_a_bound(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = site.publisher._operations
    publisher.step(current(site))
    with LivingCatalog(site.shop) as living:
        living.upsert([row(f"n{number}", unit_vectors(1, number)) for number in range(4)])
        publisher.keep()
        publisher.keep()
        assert [each[0] for each in publisher._kept] == [2, 3, 4, 5]
        monkeypatch.setattr(publishing, "KEPT_BYTES", 10)
        living.upsert([row("more", unit_vectors(1, 9))])
        publisher.keep()
        assert publisher._kept == [], "replicas take the revision"


def test_catalog_that_is_gone_fails_no_checkpoint(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.publisher._operations.step(current(site))
    site.shop.rename(site.folder / "elsewhere")
    site.publisher.keep_operations()
    assert "were not kept for replicas" in caplog.text
