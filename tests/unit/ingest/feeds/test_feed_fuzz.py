"""Damaged feeds of every format: no row is lost or mixed with another, and nothing but `SightlineError` is raised."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_server.ingest.feed_rows import FeedRow
from sightline_server.ingest.feeds import rows
from tests.support.feed_fuzz import Feed
from tests.support.feed_oracle import Reading, WrongReadingError, check, read
from tests.tools.feed_fuzz import read_feeds

FEEDS = 1500


def test_damaged_feeds_of_every_format_are_read_rightly_or_refused() -> None:
    counts = read_feeds(7, range(FEEDS), timed=False)
    outcomes = {name: count for name, count in counts.items() if ":" in name}
    assert sum(outcomes.values()) == FEEDS
    for kind in ("delimited", "lines", "document", "xml", "parquet"):
        assert outcomes[f"{kind}: read"] > 30
        assert outcomes[f"{kind}: refused"] > 3
    assert counts["products"] > FEEDS
    assert counts["rows skipped"] > 100


CELLS = st.sampled_from(['"', '""', "x", " ", ",", "\n", "\r\n", "y.jpg", '"x', 'x"', '"x"', '"x\ny"', "\t", "//h/i"])


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6), st.sampled_from(",\t;"))
def test_every_line_with_a_tag_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]], delimiter: str
) -> None:
    tags = tuple(f"{letter}qzvwk" for letter in "bcdfgh"[: len(cells)])
    lines = [delimiter.join([tag, f"https://h.example/{tag}.jpg", *row]) for tag, row in zip(tags, cells, strict=True)]
    text = "\n".join([delimiter.join(["id", "image_link", "title", "price"]), *lines, ""])
    feed = Feed("delimited", "feed.csv", text.encode(), tags, text=text, delimiter=delimiter)
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    reading = read(feed, path)
    check(feed, reading)
    assert not reading.refusal
    assert len(reading.rows) >= len(tags)


def test_the_oracle_sees_a_row_that_is_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = ("bqzvwk", "cqzvwk", "dqzvwk")
    text = "id,image_link,title\n" + "\n".join(
        [f'{tags[0]},{tags[0]}.jpg,"60 in.', f"{tags[1]},{tags[1]}.jpg,x", f'{tags[2]},{tags[2]}.jpg,40"']
    )
    feed = Feed("delimited", "feed.csv", text.encode(), tags, text=text, delimiter=",")
    reading = read(feed, tmp_path / "feed.csv")
    check(feed, reading)
    assert sum(isinstance(row, FeedRow) for row in reading.rows) == 2
    monkeypatch.setattr(rows, "own_row", lambda *_: False)
    monkeypatch.setattr(rows, "literal_fields", lambda *_: [])
    with pytest.raises(WrongReadingError, match="swallowed"):
        check(feed, read(feed, tmp_path / "feed.csv"))
    with pytest.raises(WrongReadingError):
        check(feed, Reading(reading.outcomes[1:], reading.lines[1:]))
