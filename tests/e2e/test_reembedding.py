"""A catalog changes its embedder on the real engine: from the command line, and while a server searches it.

The tiny embedder answers in 8 numbers; the echo embedder, of another dimension, with the 48 that it gets.
"""

import asyncio
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
from tests.support.engine import TritonSession, sightline_home
from tests.support.pictures import noise
from tests.support.tiny_models import build_repository, echo_embedder, write_model
from tests.support.world import WHOLE, RunningServer, asked, environment, search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
PRODUCTS = 6
SEARCHES = 5000
Ask = Callable[[int], Awaitable[tuple[str, str]]]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the tiny models and the echo embedder."""
    folder = build_repository(tmp_path_factory.mktemp("models"))
    write_model(folder, "embedder-echo", echo_embedder(4), {"preprocess": {"resize": "squash"}}, max_batch_size=64)
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


def test_the_command_line_changes_the_embedder_of_a_catalog(shop: Path, repository: Path) -> None:
    dimension = open_catalog(shop).facts.embedder.dimension
    made = command("reembed", shop, "--embedder", "embedder-echo", "--repository", repository)
    assert made.exit_code == 0, made.output
    assert f"{shop}: 6 products embedded by embedder-echo@" in made.stdout
    assert "revision    2-" in made.stdout
    assert f"sightline catalog activate 2 --catalog {shop}" in made.stderr
    assert open_catalog(shop).facts.embedder.dimension == dimension == 8
    activated = command("activate", 2, "--catalog", shop)
    assert activated.exit_code == 0, activated.output
    info = command("info", shop).stdout
    assert "embedder-echo@" in info and "48 numbers" in info and "originals   6 image files" in info
    assert command("verify", "--catalog", shop, "--all").exit_code == 0


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

            refused = command("reembed", shop, "--embedder", "embedder-echo", "--repository", repository)
            assert refused.exit_code == 2
            assert "--target HOST:PORT" in refused.stderr
            answers, stop = list[tuple[str, str]](), asyncio.Event()
            searching = asyncio.create_task(keep_searching(ask, answers, stop))
            shown = await sightline("reembed", "shop", "--embedder", "embedder-echo", *remote)
            assert "shop: 6 products embedded by embedder-echo, 0 as before" in shown
            before = await ask(0)
            await sightline("activate", "2", "--catalog", "shop", *remote)
            switched = await ask(1)
            await sightline("rollback", "1", "--catalog", "shop", *remote)
            back = await ask(2)
            stop.set()
            await searching
    assert [each[1].partition("@")[0] for each in (before, switched, back)] == ["embedder", "embedder-echo", "embedder"]
    changes = [each for each, last in zip(answers, [None, *answers], strict=False) if each != last]
    assert changes == [before, switched, back][: len(changes)]
    assert changes[:2] == [before, switched], "searches went on during the switch, which was one step"
