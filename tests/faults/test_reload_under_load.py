"""Catalogs replaced under load in a real server: no call is lost, and no stream names two revisions."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sightline_client import Accepted, AsyncClient, ClientOptions, Done, ObjectResults
from sightline_client.local_server import LocalServer
from sightline_server.index.catalog import read_facts, read_identity
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.crew import value
from tests.support.engine import CHECKOUT
from tests.support.small_shop import PHOTO, SmallShop
from tests.support.world import RunningServer

pytestmark = [pytest.mark.engine, pytest.mark.timeout(200)]
CALLS_AFTER_S = 1.5
RATE = 10.0
PRODUCTS = 60


@dataclass
class Shops:
    """Two catalogs, a and b; the ids of a's products name the revision that has them."""

    folder: Path
    shop: SmallShop
    revisions: dict[str, str] = field(default_factory=dict)
    """Revision of a -> the first letter of its products' ids."""

    @property
    def catalogs(self) -> dict[str, Path]:
        return {"a": self.folder / "a", "b": self.folder / "b"}

    def write(self, name: str, letter: str, products: int = PRODUCTS) -> str:
        """Builds a revision; returns its name."""
        spec = read_facts(self.shop.catalog).embedder
        rows = [row(f"{letter}{n}", unit_vectors(1, n + ord(letter), spec.dimension)) for n in range(products)]
        write_catalog(self.catalogs[name], rows, spec, replace=True)
        revision, _ = read_identity(self.catalogs[name])
        if name == "a":
            self.revisions[revision] = letter
        return revision


@pytest.fixture
def shops(shop: SmallShop, tmp_path: Path) -> Shops:
    made = Shops(tmp_path, shop)
    made.write("a", "q")
    made.write("b", "b")
    return made


@contextmanager
def serving(shops: Shops, *arguments: str) -> Iterator[RunningServer]:
    """A server of both catalogs, its process id in a file."""
    log = shops.folder / "server.log"
    named = [part for name, path in shops.catalogs.items() for part in ("--catalog", f"{name}={path}")]
    named += ["--pid-file", str(shops.folder / "pid"), *arguments]
    with LocalServer(extra_args=named, env=shops.shop.variables(), log=log, start_timeout_s=90) as process:
        yield RunningServer(process, log)


async def reload(shops: Shops, *names: str) -> subprocess.CompletedProcess[str]:
    """`sightline catalog reload`."""
    command = [sys.executable, "-m", "sightline_client.cli", "catalog", "reload", *names]
    command += ["--pid-file", str(shops.folder / "pid")]
    variables = shops.shop.variables()
    return await asyncio.to_thread(
        subprocess.run, command, env=variables, capture_output=True, text=True, timeout=100, cwd=CHECKOUT
    )


@dataclass(frozen=True)
class Stream:
    """The answer of one call."""

    revisions: frozenset[str]
    letters: frozenset[str]


async def stream(client: AsyncClient, catalog: str) -> Stream:
    """One call. Raises what the client raises when it is lost."""
    revisions, letters = set(), set()
    async for event in client.search(PHOTO, catalog=catalog, max_products=3, timeout_s=60):
        if isinstance(event, Accepted | Done):
            assert event.catalog == catalog
            revisions.add(event.catalog_revision)
        elif isinstance(event, ObjectResults):
            letters |= {each.product.id[0] for each in event.products}
    return Stream(frozenset(revisions), frozenset(letters))


async def calls_at(rate: float, client: AsyncClient, over: asyncio.Event) -> list[Stream]:
    """Calls of catalog a at a constant rate, whatever the ones before take, until `over`; then what each said."""
    calls = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not over.is_set():
        calls.append(asyncio.create_task(stream(client, "a")))
        due = began + len(calls) / rate
        try:
            await asyncio.wait_for(over.wait(), max(0.0, due - loop.time()))
        except TimeoutError:
            continue
    return await asyncio.gather(*calls)


@pytest.mark.parametrize(("arguments", "letters"), [((), "rst"), (("--workers", "2"), "r")], ids=["alone", "workers"])
async def test_reloads_under_load_lose_no_call_and_no_stream_names_two_revisions(
    shops: Shops, arguments: tuple[str, ...], letters: str
) -> None:
    with serving(shops, *arguments) as server:
        over = asyncio.Event()
        options = ClientOptions(server.target, channels=4)
        async with AsyncClient(options) as client:
            before = await stream(client, "a")
            calling = asyncio.create_task(calls_at(RATE, client, over))
            for number, letter in enumerate(letters):
                old, _ = read_identity(shops.catalogs["a"])
                new = shops.write("a", letter, PRODUCTS + number)
                told = await reload(shops)
                assert (told.returncode, told.stderr) == (0, "")
                b, _ = read_identity(shops.catalogs["b"])
                assert told.stdout == f"a: {old} -> {new}\nb: {b} (unchanged)\n"
                after = await stream(client, "a")
                assert after.revisions == {new}, "a call that begins when the command has ended sees the new revision"
            # The calls go on after the last reload, too; a fast machine has made few until here.
            await asyncio.sleep(CALLS_AFTER_S)
            over.set()
            streams = [before, *await calling, after]
        assert len(streams) > 20
        for each in streams:
            [revision] = each.revisions
            assert each.letters == {shops.revisions[revision]}, "every product is one of the leased revision"
        assert {next(iter(each.revisions)) for each in streams} >= {next(iter(before.revisions)), new}
        assert value(server, "catalog_info", catalog="a", revision=new) == 1
        assert value(server, "catalog_info", catalog="a") == 1, "old revisions are not shown as served"
        assert value(server, "catalog_revisions", catalog="a") == 1, "old revisions are freed"
        assert value(server, "catalog_reloads_total", catalog="a", outcome="replaced") == len(letters)
        assert value(server, "worker_restarts_total") == 0


async def test_a_reload_that_fails_says_why_and_the_old_revision_is_served(shops: Shops) -> None:
    with serving(shops) as server:
        async with AsyncClient(ClientOptions(server.target)) as client:
            [old] = (await stream(client, "a")).revisions
            shops.catalogs["a"].rename(shops.folder / "away")
            told = await reload(shops)
            assert told.returncode == 1
            assert f"sightline: catalog a: there is no catalog at {shops.catalogs['a']}" in told.stderr
            assert f"revision {old} is still served" in told.stderr
            assert told.stdout.startswith("b: ")
            assert (await stream(client, "a")).revisions == {old}
            assert value(server, "catalog_reloads_total", catalog="a", outcome="failed") == 1

            told = await reload(shops, "b", "nobody")
            assert (told.returncode, told.stdout.count("unchanged")) == (1, 1)
            assert told.stderr == "sightline: catalog nobody: there is no such catalog on this server\n"

            new = shops.write("a", "n")
            server.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(60):
                while (await stream(client, "a")).revisions != {new}:  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(0.05)
        assert "SIGHUP: 2 catalogs, 0 could not be opened" in server.log.read_text()
    assert not (shops.folder / "pid").exists()
    told = await reload(shops)
    assert told.returncode == 2
    assert "--pid-file" in told.stderr
