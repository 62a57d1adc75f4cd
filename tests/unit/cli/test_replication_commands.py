"""`sightline catalog publish` and `follow`: what they print, and their exit codes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_server.cli.catalog import app
from sightline_server.index.catalog import read_identity
from tests.support.replicas import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.build()
    return site


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_revision_is_published_and_followed(site: Site) -> None:
    name = read_identity(site.shop)[0]
    done = command("publish", site.shop, "--to", site.share)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{site.shop}: published revision {name} (2 new files, 0.0 MB)")
    done = command("follow", site.share, "--to", site.copy, "--once")
    assert (done.exit_code, done.stdout) == (0, f"{site.copy}: revision {name}\n")
    assert site.revision == name


def test_nothing_new_is_said(site: Site) -> None:
    command("publish", site.shop, "--to", site.share)
    command("follow", site.share, "--to", site.copy, "--once")
    assert command("publish", site.shop, "--to", site.share).stdout == f"{site.shop}: is published\n"
    done = command("follow", site.share, "--to", site.copy, "--once")
    assert done.stdout == f"{site.copy}: has the published revision\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("publish", "missing", "--to", "share"), 2, "there is no catalog at"),
        (("publish", "shop", "--to", "missing"), 2, "is not a folder"),
        (("follow", "missing", "--to", "copy", "--once"), 1, "nothing is published in"),
        (("follow", "share", "--to", "shop", "--once"), 1, "nothing is published in"),
    ],
)
def test_failures_are_one_line_and_an_exit_code(
    site: Site, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, text: str
) -> None:
    monkeypatch.chdir(site.folder)
    done = command(*arguments)
    assert done.exit_code == code
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_catalog_of_another_kind_is_not_replaced(site: Site) -> None:
    site.publish()
    done = command("follow", site.share, "--to", site.shop, "--once")
    assert done.exit_code == 2
    assert "is not a replica" in done.stderr


@pytest.mark.parametrize("verb", ["upsert", "update", "delete", "rollback", "compact"])
def test_commands_that_write_refuse_a_replica(site: Site, verb: str) -> None:
    site.change("first")
    site.publish()
    site.follow()
    feed = site.folder / "feed.jsonl"
    feed.write_text('{"id": "p1", "price": "3 EUR"}\n')
    extra = {"upsert": (feed, "--embedded"), "update": (feed,), "delete": ("p1",), "rollback": ("1",), "compact": ()}
    done = command(verb, *extra[verb], "--catalog", site.copy)
    assert done.exit_code == 2
    assert "is a replica" in done.stderr
    assert len(site.ids()) == 6


def test_publisher_goes_on_while_its_catalog_is_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def between() -> Iterator[None]:
        site.shop.rename(site.folder / "elsewhere")
        yield
        (site.folder / "elsewhere").rename(site.shop)
        site.change("first")
        yield
        raise KeyboardInterrupt

    pauses = between()
    monkeypatch.setattr("sightline_server.cli.catalog_replication.time.sleep", lambda seconds: next(pauses))
    done = command("publish", site.shop, "--to", site.share, "--every", 1)
    assert done.exit_code == 130
    assert [line.split()[3].partition("-")[0] for line in done.stdout.splitlines()] == ["1", "2"]
    assert done.stderr.count("there is no catalog at") == 1


def test_follower_goes_on_and_says_each_failure_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def between() -> Iterator[None]:
        yield
        yield
        site.publish()
        yield
        raise KeyboardInterrupt

    pauses = between()
    monkeypatch.setattr("sightline_server.cli.catalog_replication.time.sleep", lambda seconds: next(pauses))
    done = command("follow", site.share, "--to", site.copy)
    assert done.exit_code == 130
    assert done.stdout == f"{site.copy}: revision {read_identity(site.shop)[0]}\n"
    assert done.stderr.count("nothing is published") == 1
    assert "interrupted; the copy is as it was" in done.stderr
