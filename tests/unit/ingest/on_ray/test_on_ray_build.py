"""The build on Ray with workers in this process: the catalog of a local build, whatever happens to workers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.build import BuildOptions, BuildReport, Progress, build_catalog
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.groups import GROUP_ROWS
from sightline_server.ingest.on_ray.plan import BLOCK_GROUPS
from tests.support.catalogs import BUILT, LIMITS, SPEC, shade_embed, write_feed, write_picture
from tests.support.ray_builds import CountedEngine, build_here

BLOCK = GROUP_ROWS * BLOCK_GROUPS
IMAGES = 255


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """Rows for two blocks and a half, with images of several products, unreadable images and bad rows."""
    for number in range(256):
        write_picture(tmp_path / "pictures" / f"{number}.png", number)
    rows = [
        {
            "id": f"p{number}",
            "image_link": f"pictures/{number}.png",
            "additional_image_link": f"pictures/{number % 7}.png",
        }
        for number in range(BLOCK * 5 // 2)
    ]
    rows[40]["image_link"] = "file:///etc/passwd"
    rows += [{"id": "", "image_link": "a.png"}, {"id": "p3", "image_link": "a.png"}]
    return write_feed(tmp_path / "feed.csv", rows)


def local(feed: Path) -> BuildReport:
    """The local build of the same feed."""
    options = BuildOptions(feed=feed, out=feed.parent / "local", decode=LIMITS)
    return asyncio.run(build_catalog(options, SPEC, shade_embed, BUILT))


def failing(times: int, error: Exception) -> Callable[[], None]:
    """Raises `error` in the first calls."""
    left = times

    def before() -> None:
        nonlocal left
        if left:
            left -= 1
            raise error

    return before


def test_the_catalog_and_the_report_are_those_of_a_local_build(feed: Path) -> None:
    problems: list[Problem] = []
    counts: list[int] = []
    first, second = CountedEngine(), CountedEngine()
    outcome = build_here(feed, first, second, progress=Progress(counts.append, problems.append))
    expected = local(feed)
    assert outcome.report.facts.content_sha256 == expected.facts.content_sha256
    assert outcome.report.problems == expected.problems == tuple(problems)
    assert (outcome.report.losses, outcome.report.same_images) == (expected.losses, expected.same_images)
    assert (outcome.embedded, outcome.kept) == (IMAGES, 0)
    assert sum(first.batches) + sum(second.batches) == IMAGES
    assert counts[-1] == BLOCK * 5 // 2 + 2
    assert sorted(path.name for path in feed.parent.iterdir()) == ["feed.csv", "local", "pictures", "shop"]


def test_the_engine_gets_the_batches_of_a_local_build(feed: Path) -> None:
    engine, batches = CountedEngine(), CountedEngine()
    build_here(feed, engine)
    options = BuildOptions(feed=feed, out=feed.parent / "local", decode=LIMITS)
    asyncio.run(build_catalog(options, SPEC, batches.embed, BUILT))
    assert engine.batches == batches.batches


def test_a_build_goes_on_where_it_was_stopped(feed: Path) -> None:
    def stop(outcome: object) -> None:
        raise KeyboardInterrupt

    first, second = CountedEngine(), CountedEngine()
    with pytest.raises(KeyboardInterrupt):
        build_here(feed, first, after=stop)
    assert not (feed.parent / "shop").exists()
    outcome = build_here(feed, second)
    assert sum(first.batches) == outcome.kept > 0
    assert sum(second.batches) == outcome.embedded == IMAGES - outcome.kept
    assert outcome.report.facts.content_sha256 == local(feed).facts.content_sha256


def test_a_catalog_that_could_not_be_written_is_built_from_what_is_embedded(feed: Path) -> None:
    out = feed.parent / "shop"
    out.mkdir()
    (out / "letters.txt").write_text("x")
    with pytest.raises(SightlineError, match="is not a catalog"):
        build_here(feed, CountedEngine(), replace=True)
    (out / "letters.txt").unlink()
    engine = CountedEngine()
    write_picture(feed.parent / "pictures" / "256.png", 3)
    outcome = build_here(feed, engine, replace=True)
    assert outcome.kept == IMAGES
    # The images that failed are tried again: one of them is there by now.
    assert engine.batches == [1]


def test_a_feed_that_changed_since_is_refused(feed: Path) -> None:
    fault = OSError(28, "No space left on device")
    engine = CountedEngine()

    def fill_the_disk(outcome: object) -> None:
        engine.before = failing(9, fault)

    with pytest.raises(SightlineError, match=r"no worker can go on; .*: No space left on device\. What was embedded"):
        build_here(feed, engine, after=fill_the_disk)
    feed.write_text(feed.read_text().replace("p1,", "q1,"))
    with pytest.raises(SightlineError, match=r"another build \(its feed differs\)") as caught:
        build_here(feed, CountedEngine())
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_a_feed_that_changes_during_the_build_ends_it(feed: Path) -> None:
    def change(outcome: object) -> None:
        with feed.open("a") as file:
            file.write("late,pictures/0.png,\n")

    with pytest.raises(SightlineError, match=r"feed\.csv changed during the build, and nothing was built"):
        build_here(feed, CountedEngine(), after=change)
    assert not (feed.parent / "shop").exists()


def test_blocks_of_a_failing_worker_go_to_others(feed: Path) -> None:
    notes: list[str] = []
    full = CountedEngine(before=failing(2, OSError(28, "No space left on device")))
    sound = CountedEngine()
    # The sound one first, so that a fault is not that of all workers.
    outcome = build_here(feed, sound, full, progress=Progress(waiting=notes.append))
    assert outcome.report.facts.content_sha256 == local(feed).facts.content_sha256
    assert any(note.endswith("failed: No space left on device") for note in notes)


def test_a_fault_of_every_worker_ends_the_build_and_names_the_reason(feed: Path) -> None:
    fault = SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine has ended")
    engine = CountedEngine(before=failing(1000, fault))
    with pytest.raises(SightlineError, match=r"no worker can go on; .*: the engine has ended\. What was") as caught:
        build_here(feed, engine)
    assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
    assert "the same command goes on from there" in caught.value.message
    assert engine.started == 1


def test_a_missing_folder_of_images_is_a_fault_of_the_worker(feed: Path) -> None:
    with pytest.raises(SightlineError, match=r"there is no folder .*/none, from which relative image links start"):
        build_here(feed, CountedEngine(), images=feed.parent / "none")


def test_a_strict_build_ends_at_the_first_bad_row_before_any_worker(feed: Path) -> None:
    feed.write_text(feed.read_text().replace("p1,", ",", 1))
    engine = CountedEngine()
    with pytest.raises(SightlineError, match=r"feed\.csv, row 3: there is no id"):
        build_here(feed, engine, strict=True)
    assert engine.started == 0


def test_a_strict_build_ends_at_an_unreadable_image(feed: Path) -> None:
    (feed.parent / "pictures" / "4.png").unlink()
    write_feed(feed, [{"id": f"p{number}", "image_link": f"pictures/{number}.png"} for number in range(9)])
    with pytest.raises(SightlineError, match=r"feed\.csv, row 6 \(p4\): pictures/4\.png: there is no such file"):
        build_here(feed, CountedEngine(), strict=True)


def test_a_feed_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    feed = write_feed(tmp_path / "feed.csv", [{"id": "a", "image_link": "none.png"}])
    with pytest.raises(SightlineError, match=r"no row of feed\.csv can be used") as caught:
        build_here(feed, CountedEngine())
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


def test_a_feed_without_links_that_are_read_is_refused(tmp_path: Path) -> None:
    feed = write_feed(tmp_path / "feed.csv", [{"id": "a", "image_link": "file:///etc/passwd"}])
    engine = CountedEngine()
    with pytest.raises(SightlineError, match=r"no row of feed\.csv names an image that can be read"):
        build_here(feed, engine)
    assert engine.started == 0


def test_files_of_images_are_refused_with_the_option_to_give(feed: Path) -> None:
    with pytest.raises(SightlineError, match="add --no-keep-originals, or build without --on ray"):
        build_here(feed, CountedEngine(), keep_originals=True)
    with pytest.raises(SightlineError, match="add --no-local-features, or build without --on ray"):
        build_here(feed, CountedEngine(), local_features=True)
