"""Operations that a writer publishes between its revisions, on replicas that serve: what is found, and what stays."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightline_server.catalog.store import CatalogStore
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import read_identity
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.replication import operations_publisher as publishing
from sightline_server.index.replication.sealed import sealed
from sightline_server.index.replication.segment import MAGIC as SEGMENT
from sightline_server.index.replication.share import CURRENT, OPERATIONS, Share
from sightline_server.index.replication.tail import MAGIC, Segment, Tail
from tests.support.catalogs import row, unit_vectors
from tests.support.followed import Followed, following
from tests.support.replicas import Site

BUILT = {f"p{n}": "" for n in range(5)}


@pytest.fixture(params=[None, 1], ids=["alone", "worker"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Followed]:
    async with following(copied(tmp_path), request.param) as found:
        await found.check()
        yield found


def copied(folder: Path) -> Site:
    """A site whose replica has a copy."""
    site = Site(folder)
    site.build()
    site.change("first")
    site.publish()
    site.follow()
    return site


def writer(site: Site) -> LivingCatalog:
    """The catalog as a server writes it: operations are kept before a checkpoint."""
    return LivingCatalog(site.shop, store=CatalogStore(site.shop, pause=site.publisher.keep_operations))


def written(site: Site, *ids: str, title: str = "written") -> None:
    """Adds products, without a checkpoint."""
    with writer(site) as living:
        living.upsert([row(each, unit_vectors(1, sum(each.encode())), title=title) for each in ids])


def published(site: Site) -> Tail:
    return Tail.parse((site.share / OPERATIONS).read_bytes())


def newest(site: Site) -> Path:
    """The file of the last segment."""
    return site.share / "objects" / published(site).segments[-1].sha256


async def test_writes_are_found_before_there_is_a_revision(served: Followed) -> None:
    site = served.site
    with writer(site) as living:
        living.upsert([row("second", unit_vectors(2, 91), title="new")])
        living.update([ProductUpdate("p1", {"title": "changed"})])
        living.delete(["p0", "first"])
    assert site.publish() is None, "there is no new revision"
    await served.check()
    assert await served.content() == {"p1": "changed", "p2": "", "p3": "", "p4": "", "second": "new"}
    assert served.revision == read_identity(site.shop)[0], "the same content has the same name on every machine"
    assert served.value("replica_operations_total") == 4
    assert site.revision.startswith("2-"), "the copy on the disk is the revision"
    assert (site.publish(), len(published(site).segments)) == (None, 1), "nothing is published twice"


async def test_what_was_deleted_stays_gone_while_revisions_change(served: Followed) -> None:
    site = served.site
    with writer(site) as living:
        living.upsert([row("second", unit_vectors(1, 91))])
        site.publish()
        await served.check()
        living.delete(["p3"])
        living.checkpoint()
        living.delete(["p0"])
        site.publish()
    # The new revision is not opened yet: the operations lead on from the one before.
    await served.check_operations()
    left = {**BUILT, "first": "", "second": ""}
    del left["p3"], left["p0"]
    assert await served.content() == left
    assert served.value("replica_operations_total") == 3
    await served.follower.check()
    assert await served.content() == left, "p0 was deleted after the revision that is opened now"
    assert site.revision.startswith("3-")
    assert served.revision.startswith("3+1-")


async def test_operations_that_a_checkpoint_took_come_with_its_revision(
    served: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = served.site
    monkeypatch.setattr(publishing, "KEPT_OPERATIONS", 0)
    with writer(site) as living:
        living.delete(["p3"])
        living.checkpoint()
        living.delete(["p0"])
        site.publish()
    await served.check_operations()
    assert await served.content() == {**BUILT, "first": ""}, "an operation in between is missing"
    await served.check()
    assert sorted(await served.content()) == ["first", "p1", "p2", "p4"]


async def test_rollback_is_served_as_a_revision(served: Followed) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    await served.check()
    with writer(site) as living:
        living.store.rollback(1)
        living.upsert([row("after", unit_vectors(1, 93), title="after")])
    site.publish()
    assert published(site).since == published(site).sequence
    await served.check_operations()
    assert "second" in await served.content(), "until the revision is there"
    await served.check()
    assert await served.content() == {**BUILT, "after": "after"}


async def test_earlier_state_of_the_writer_replaces_later_operations(served: Followed, tmp_path: Path) -> None:
    site = served.site
    backup = shutil.copytree(site.shop, tmp_path / "backup")
    written(site, "lost")
    site.publish()
    await served.check()
    assert "lost" in await served.content()
    shutil.rmtree(site.shop)
    backup.rename(site.shop)
    written(site, "other")
    assert site.publish() is not None, "the same revision is published again"
    await served.check()
    assert sorted(await served.content()) == ["first", "other", *BUILT]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [("missing", "incomplete"), ("truncated", "incomplete"), ("changed", "damaged"), ("format", "format")],
)
async def test_segment_that_cannot_be_applied_leaves_what_is_served_until_the_next_revision(
    served: Followed, harm: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    written(site, "third")
    site.publish()
    assert len(published(site).segments) == 2
    path = newest(site)
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(data[:-7])
    elif harm == "changed":
        path.write_bytes(data[:-7] + b"\0" * 7)
    else:
        replaced(site, sealed(SEGMENT, 2, b"of a later version"))
    in_step = served.value("replica_in_step_timestamp_seconds")
    monkeypatch.setattr("sightline_server.telemetry.replication.time.time", lambda: in_step + 3600)
    for _ in range(2):
        await served.check_operations()
        await served.follower.check()
        content = await served.content()
        assert "second" in content, "what comes before the segment is applied"
        assert "third" not in content
    assert served.value("replica_failures_total", reason=reason) == 2
    assert served.value("replica_in_step_timestamp_seconds") == in_step
    assert served.value("replica_lag_seconds") > 0
    with writer(site) as living:
        living.delete(["p0"])
        living.checkpoint()
    site.publish()
    await served.check()
    await served.follower.check()
    assert sorted(await served.content()) == ["first", "p1", "p2", "p3", "p4", "second", "third"]
    assert served.value("replica_in_step_timestamp_seconds") == in_step + 3600
    assert served.value("replica_lag_seconds") == 0


def replaced(site: Site, data: bytes) -> None:
    """Names a file with `data` as the last segment."""
    share, tail = Share(site.share), published(site)
    file, last = share.put_bytes(data), tail.segments[-1]
    segment = Segment(last.first, last.last, file.size, file.sha256, last.published_at)
    named = Tail(
        tail.publication,
        tail.sequence,
        tail.since,
        tail.base_seq,
        tail.start,
        tail.mark,
        (*tail.segments[:-1], segment),
    )
    share.replace_operations(named.to_bytes())


@pytest.mark.parametrize("published_at", ["yesterday", "2026-11-27T19:00:00", 5, None])
async def test_time_that_cannot_be_read_is_a_failure_and_no_end(served: Followed, published_at: Any) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    newest(site).unlink()
    tail = published(site)
    whole = (site.share / OPERATIONS).read_bytes()
    segment = replace(tail.segments[-1], published_at=published_at)
    Share(site.share).replace_operations(replace(tail, segments=(segment,)).to_bytes())
    for _ in range(2):
        await served.check_operations()
    assert served.value("replica_failures_total", reason="format") == 2
    (site.share / OPERATIONS).write_bytes(whole)
    await served.check_operations()
    assert served.value("replica_failures_total", reason="incomplete") == 1


@pytest.mark.parametrize("rolled_back", [False, True])
async def test_replica_without_the_revision_of_the_operations_does_not_say_that_it_is_in_step(
    served: Followed, rolled_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = served.site
    before = (site.share / CURRENT).read_bytes()
    monkeypatch.setattr(publishing, "KEPT_OPERATIONS", 0)
    with writer(site) as living:
        if rolled_back:
            living.store.rollback(1)
        else:
            living.delete(["p3"])
            living.checkpoint()
        living.delete(["p0"])
        site.publish()
    # A tool has copied OPERATIONS first.
    after = (site.share / CURRENT).read_bytes()
    (site.share / CURRENT).write_bytes(before)
    in_step = served.value("replica_in_step_timestamp_seconds")
    monkeypatch.setattr("sightline_server.telemetry.replication.time.time", lambda: in_step + 3600)
    await served.check_operations()
    await served.follower.check()
    assert "p0" in await served.content()
    assert served.value("replica_in_step_timestamp_seconds") == in_step
    (site.share / CURRENT).write_bytes(after)
    await served.check()
    await served.follower.check()
    assert not {"p0", "p3" if not rolled_back else "first"} & set(await served.content())
    assert served.value("replica_in_step_timestamp_seconds") == in_step + 3600


async def test_segment_that_is_copied_later_is_applied_then(served: Followed) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    path = newest(site)
    path.rename(site.folder / "late")
    await served.check_operations()
    assert "second" not in await served.content()
    (site.folder / "late").rename(path)
    await served.check_operations()
    assert "second" in await served.content()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "incomplete"),
        (b"sightline-operations 1 ", "incomplete"),
        (sealed(MAGIC, 2, b"{}"), "format"),
        (sealed(MAGIC, 1, b"{}"), "format"),
    ],
)
async def test_description_of_operations_that_cannot_be_read_leaves_what_is_served(
    served: Followed, data: bytes, reason: str
) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    (site.share / OPERATIONS).write_bytes(data)
    await served.check()
    assert await served.content() == {**BUILT, "first": ""}
    assert served.value("replica_failures_total", reason=reason) == 1


async def test_segments_without_their_order_are_refused(served: Followed) -> None:
    site = served.site
    for product_id in ("second", "third"):
        written(site, product_id)
        site.publish()
    tail = published(site)
    later = Tail(tail.publication, tail.sequence, tail.since, tail.base_seq, tail.start, tail.mark, tail.segments[::-1])
    Share(site.share).replace_operations(later.to_bytes())
    await served.check_operations()
    assert served.value("replica_failures_total", reason="format") == 1
    assert await served.content() == {**BUILT, "first": ""}


async def test_restarted_replica_has_its_operations_while_its_source_is_away(served: Followed) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    await served.check()
    site.share.rename(site.folder / "elsewhere")
    async with following(site) as again:
        assert "second" in await again.content()
        assert again.value("replica_failures_total", reason="source_away") == 0, (
            "a source without operations is not a failure"
        )


async def test_damaged_file_of_a_restarted_replica_is_fetched_again(served: Followed) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    await served.check()
    for path in (site.copy / "operations").iterdir():
        path.write_bytes(b"damaged")
    async with following(site) as again:
        assert "second" in await again.content()


async def test_two_replicas_have_the_same(served: Followed, tmp_path: Path) -> None:
    site = served.site
    (tmp_path / "other").mkdir()
    second = Site(tmp_path, tmp_path / "other")
    second.follow()
    written(site, "second")
    site.publish()
    async with following(second) as other:
        for replica in (served, other):
            await replica.check()
        assert await served.content() == await other.content() == {**BUILT, "first": "", "second": "written"}
        assert served.revision == other.revision


async def test_segments_that_a_revision_has_superseded_are_removed(served: Followed) -> None:
    site = served.site
    for product_id in ("second", "third", "fourth"):
        with writer(site) as living:
            living.upsert([row(product_id, unit_vectors(1, len(product_id)))])
            site.publish()
            await served.check()
            living.checkpoint()
        site.publish()
        await served.check()
    tail = published(site)
    assert [(each.first, each.last) for each in tail.segments] == [(4, 4)], "for replicas of the revision before"
    files = {each.name for each in site.objects()}
    assert len(files & {each.sha256 for each in tail.segments}) == 1
    assert not [each for each in site.objects() if each.read_bytes().startswith(SEGMENT.encode())][1:]
    kept = [each.name for each in (site.copy / "operations").iterdir()] if (site.copy / "operations").exists() else []
    assert len(kept) <= 2


def interrupted(share: Share, data: bytes) -> None:
    raise KeyboardInterrupt


async def test_publisher_that_ends_between_its_steps_publishes_once(
    served: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = served.site
    written(site, "second")
    with monkeypatch.context() as patch:
        patch.setattr(Share, "replace_operations", interrupted)
        with pytest.raises(KeyboardInterrupt):
            site.publish()
    await served.check()
    assert "second" not in await served.content()
    again = Site(site.folder)
    again.publish()
    await served.check()
    assert served.value("replica_operations_total") == 1
    assert "second" in await served.content()


async def test_many_operations_are_several_segments(served: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    site = served.site
    monkeypatch.setattr(publishing, "SEGMENT_OPERATIONS", 3)
    written(site, *(f"n{number}" for number in range(8)))
    site.publish()
    assert [each.last - each.first + 1 for each in published(site).segments] == [3, 3, 2]
    await served.check()
    assert len(await served.content()) == 14


async def test_operations_after_an_adapter_are_not_published(served: Followed) -> None:
    site = served.site
    with CatalogStore(site.shop) as store:
        store.adapt(b"an adapter")
    written(site, "second")
    with pytest.raises(SightlineError, match="has an adapter"):
        site.publish()
    assert not (site.share / OPERATIONS).exists()


async def test_share_that_was_emptied_has_the_operations_again(served: Followed) -> None:
    site = served.site
    written(site, "second")
    site.publish()
    await served.check()
    shutil.rmtree(site.share)
    site.share.mkdir()
    site.publish()
    assert published(site).segments[0].first == 2
    await served.check()
    assert "second" in await served.content()


async def test_revision_alone_names_what_metrics_compare(served: Followed) -> None:
    site = served.site
    with writer(site) as living:
        living.upsert([row("second", unit_vectors(1, 91))])
        living.checkpoint()
        name = living.store.current_revision.name
        living.delete(["p0"])
        site.publish()
    await served.check()
    assert served.value("catalog_info", revision=name) == 1


async def test_only_the_first_worker_keeps_what_it_applied(tmp_path: Path) -> None:
    site = copied(tmp_path)
    async with following(site, 1) as first, following(site, 2) as second:
        for number, each in enumerate((second, first)):
            written(site, f"n{number}")
            site.publish()
            await each.check_operations()
            assert f"n{number}" in await each.content()
            assert (site.copy / "operations").exists() is (each is first)
        await second.check_operations()
        assert await second.content() == await first.content()


async def test_worker_whose_operations_fail_is_behind_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = copied(tmp_path)
    written(site, "second")
    site.publish()
    newest(site).unlink()
    async with following(site, 2) as served:
        began = served.value("replica_in_step_timestamp_seconds")
        monkeypatch.setattr("sightline_server.telemetry.replication.time.time", lambda: began + 3600)
        await served.check_operations()
        assert served.value("replica_in_step_timestamp_seconds") == began, "its parent does not know of operations"
        assert served.value("replica_failures_total", reason="incomplete") == 2
        (site.share / OPERATIONS).unlink()
        await served.check_operations()
        assert served.value("replica_in_step_timestamp_seconds") == began + 3600
