"""A catalog changes its embedder on the real engine: from the command line, and while a server searches it.

The tiny embedder answers in 8 numbers; the other one, `embedder-dino` as on the page, with the 48 pixels that it gets.
"""

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sightline_client.cli.remote_catalog import connect
from sightline_client.local_server import LocalServer
from sightline_server.cli.catalog import app
from sightline_server.index.catalog import open_catalog
from tests.support.catalogs import write_feed
from tests.support.engine import CHECKOUT, TritonSession, sightline_home
from tests.support.pictures import noise
from tests.support.tiny_models import build_repository, echo_embedder, write_model
from tests.support.world import WHOLE, RunningServer, asked, environment, search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
PAGE = CHECKOUT / "docs" / "guide" / "reembedding.md"
PRODUCTS = 6
SEARCHES = 5000
Ask = Callable[[int], Awaitable[tuple[str, str]]]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the tiny models and the echo embedder."""
    folder = build_repository(tmp_path_factory.mktemp("models"))
    write_model(folder, "embedder-dino", echo_embedder(4), {"preprocess": {"resize": "squash"}}, max_batch_size=64)
    return folder


def command(*arguments: object) -> Result:
    """A command as `sightline catalog` runs it."""
    home = {"SIGHTLINE_HOME": str(sightline_home())}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], obj=connect, env=home)


@pytest.fixture
def shop(tmp_path: Path, tiny_triton: TritonSession) -> Path:
    """A catalog that keeps its originals; its links lead nowhere any more."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(PRODUCTS):
        Image.fromarray(noise(48, 48, seed=40 + number)).save(images / f"{number}.png")
    feed = write_feed(images / "feed.csv", [{"id": f"p{n}", "image_link": f"{n}.png"} for n in range(PRODUCTS)])
    built = command("build", feed, "--out", tmp_path / "shop", "--keep-originals", "--triton-url", tiny_triton.url)
    assert built.exit_code == 0, built.output
    images.rename(tmp_path / "moved")
    return tmp_path / "shop"


async def sightline(*arguments: object) -> str:
    """The output of a command, both streams together, while this test goes on. It must succeed."""
    done = await asyncio.to_thread(command, *arguments)
    assert done.exit_code == 0, done.output
    return done.output


def page_commands() -> list[list[str]]:
    """The words of each command of the first block of the page, without the program."""
    block = re.findall(r"```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    return [shlex.split(line.removeprefix(".venv/bin/sightline catalog ")) for line in block.splitlines()]


def test_the_commands_of_the_page_change_the_embedder_of_the_showroom(
    tmp_path: Path, repository: Path, tiny_triton: TritonSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(CHECKOUT / "examples")
    monkeypatch.chdir(tmp_path)
    options = {"build": ("--triton-url", tiny_triton.url), "reembed": ("--repository", repository)}
    done = {}
    for words in page_commands():
        done[words[0]] = command(*words, *options.get(words[0], ()))
        assert done[words[0]].exit_code == 0, done[words[0]].output
    assert "my-catalog: 76 products embedded by embedder-dino@" in done["reembed"].stdout
    assert "sightline catalog activate 2 --catalog my-catalog" in done["reembed"].stderr
    info = done["info"].stdout
    assert "embedder-dino@" in info and "48 numbers" in info and "image files" in info
    assert [line[2:].split()[0].split("-")[0] for line in done["revisions"].stdout.splitlines()] == ["3", "2", "1"]
    assert open_catalog(tmp_path / "my-catalog").facts.embedder.dimension == 8
    assert command("verify", "--catalog", "my-catalog", "--all").exit_code == 0


async def keep_searching(ask: Ask, answers: list[tuple[str, str]], stop: asyncio.Event) -> None:
    """Searches one product after the other until `stop`; a failed call or a wrong product ends it."""
    for turn in range(SEARCHES):
        if stop.is_set():
            return
        answers.append(await ask(turn % PRODUCTS))
    raise AssertionError("the test did not end the searches")


async def test_a_catalog_is_embedded_again_while_it_is_searched(shop: Path, repository: Path, tmp_path: Path) -> None:
    photos = [(tmp_path / "moved" / f"{number}.png").read_bytes() for number in range(PRODUCTS)]
    log = tmp_path / "log"
    variables = {
        "SIGHTLINE_ENGINE__REPOSITORY": str(repository),
        "SIGHTLINE_SERVER__CATALOG_LISTEN": "127.0.0.1:0",
        # The tiny detector calls some of the noise a person, which would be greyed out.
        "SIGHTLINE_DETECTION__REDACT_PEOPLE": "false",
    }
    process = LocalServer(extra_args=["--catalog", f"shop={shop}"], env=environment(**variables), log=log)
    with process:
        [line] = [each for each in log.read_text().splitlines() if "CatalogService listens on " in each]
        remote = ("--target", line.rpartition("CatalogService listens on ")[2].strip().rstrip('"}'))
        async with grpc.aio.insecure_channel(RunningServer(process, log).target) as channel:

            async def ask(number: int) -> tuple[str, str]:
                answer = await search(channel, asked(photos[number], catalog="shop", regions=[WHOLE], max_products=1))
                assert answer.best() == f"p{number}"
                return answer.done.catalog_revision, answer.done.embedder

            refused = command("reembed", shop, "--embedder", "embedder-dino", "--repository", repository)
            assert refused.exit_code == 2
            assert "--target HOST:PORT" in refused.stderr
            answers, stop = list[tuple[str, str]](), asyncio.Event()
            searching = asyncio.create_task(keep_searching(ask, answers, stop))
            shown = await sightline("reembed", "shop", "--embedder", "embedder-dino", *remote)
            assert "shop: 6 products embedded by embedder-dino, 0 as before" in shown
            before = await ask(0)
            await sightline("activate", "2", "--catalog", "shop", *remote)
            switched = await ask(1)
            await sightline("rollback", "1", "--catalog", "shop", *remote)
            back = await ask(2)
            stop.set()
            await searching
    assert [each[1].partition("@")[0] for each in (before, switched, back)] == ["embedder", "embedder-dino", "embedder"]
    changes = [each for each, last in zip(answers, [None, *answers], strict=False) if each != last]
    assert changes == [before, switched, back][: len(changes)]
    assert changes[:2] == [before, switched], "searches went on during the switch, which was one step"
