"""The number of rows of a feed with ready embeddings, as its progress shows it: each row that is read, good or bad."""

import json
from pathlib import Path

import pytest

from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.embedded_rows import count_embedded, read_embedded
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.feeds import text
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.source import opened_feed
from sightline_server.ingest.importing import Target
from tests.support.catalogs import SPEC, unit_vectors

ROW = json.dumps(
    {"id": "a", "image_link": "a.jpg", "embedder": SPEC.identity, "embeddings": unit_vectors(1).astype(float).tolist()}
)
LINES = {
    "rows": ([ROW, ROW.replace('"a"', '"b"')], 2),
    "blank lines": (["", ROW, "  ", "\t", ROW, ""], 2),
    "broken and doubled rows": (["{", ROW, ROW, "[]", "null"], 5),
    "a line that is too long": ([ROW, "x" * 5000, ROW.replace('"a"', '"c"')], 3),
}


@pytest.mark.parametrize("name", LINES)
def test_every_row_that_is_read_was_counted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_RECORD_CHARS", 4000)
    lines, count = LINES[name]
    (tmp_path / "feed.jsonl").write_text("\n".join(lines))
    with opened_feed(tmp_path / "feed.jsonl") as feed:
        assert count_embedded(feed, FeedOptions()) == count
        found = list(read_embedded(feed, Target(SPEC), FeedOptions()))
    assert (
        sum(isinstance(each, CatalogRow) or each.skipped for each in found if isinstance(each, CatalogRow | Problem))
        == count
    )


def test_a_feed_of_another_format_has_no_number(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("id,title\na,b\n")
    with opened_feed(tmp_path / "feed.csv") as feed:
        assert count_embedded(feed, FeedOptions()) == 0
