"""The options of `sightline catalog build` that concern the feed; what is wrong with them is said before the engine."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_server.cli.build_report import summary
from sightline_server.cli.catalog import app
from sightline_server.index.schema import CatalogFacts
from sightline_server.ingest.build import BuildReport
from sightline_server.ingest.feed_rows import Problem, ProblemKind
from tests.support.catalogs import SPEC
from tests.support.feeds import feed_file

CSV = "id,image_link\np1,a.jpg\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--currency", "euro"], "'euro' is not an ISO 4217 code"),
        (["--encoding", "base64"], "unknown encoding 'base64'"),
        (["--price-format", "dot"], "Invalid value for '--price-format'"),
    ],
)
def test_wrong_options_end_with_exit_code_2(tmp_path: Path, options: list[str], words: str) -> None:
    feed = feed_file(tmp_path, CSV)
    result = CliRunner().invoke(app, ["build", str(feed), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("feed", ["none.csv", "ftp://shop.example/feed.csv", ".", "http://[::1"])
def test_feeds_that_cannot_be_had_end_with_one_line(tmp_path: Path, feed: str) -> None:
    result = CliRunner().invoke(app, ["build", feed, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.startswith("sightline: ")
    assert result.stderr.count("\n") == 1


def test_standard_input_is_a_feed(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["build", "-", "--out", str(tmp_path / "out")], input="id,title\np1,x\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("sightline: standard input has no column image_link; its columns are: id, title")


def test_the_summary_counts_skipped_rows_and_warnings_by_kind(tmp_path: Path) -> None:
    problems = [
        Problem(2, ProblemKind.NO_ID, "x"),
        Problem(3, ProblemKind.BAD_PRICE, "x", skipped=False),
        Problem(4, ProblemKind.BAD_PRICE, "x", skipped=False),
        Problem(5, ProblemKind.UNREADABLE_IMAGE, "x", skipped=False),
    ]
    facts = CatalogFacts(SPEC, 3, 3, 1, "", "")
    lines = list(summary(BuildReport(facts, tuple(problems)), tmp_path, 1.0))
    assert lines[0].endswith("3 products, 3 images, 1 row skipped")
    assert lines[1:4] == [
        "  1 skipped: no id",
        "  2 kept with a warning: price left out",
        "  1 kept with a warning: unreadable image",
    ]
