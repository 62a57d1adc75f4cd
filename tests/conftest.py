"""Fixtures of more than one folder: the tiny models and the drawn shop, each with one real server for the session.

Importing is cheap; nothing is started before a test asks for it.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio

from tests.support.effort import Effort
from tests.support.engine import tiny_engine, tiny_repository, tiny_triton
from tests.support.milvus_server import milvus
from tests.support.world import RunningServer, World, build_world, running

__all__ = ["milvus", "tiny_engine", "tiny_repository", "tiny_triton"]
"""Named here once: a fixture that a file imports for itself is made again for that file."""
LOOPBACK = "127.0.0.1,localhost,::1"


@pytest.fixture(scope="session", autouse=True)
def loopback_without_proxies() -> Iterator[None]:
    """The tests' own connections to servers of theirs are direct, whatever proxies the environment names."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, ",".join(filter(None, (os.environ.get(name), LOOPBACK))))
        yield


@pytest.fixture(scope="session", autouse=True)
def same_precision_everywhere() -> Iterator[None]:
    """Servers of tests run their models in float32, so that a CPU with bf16 changes no answer; tests of bf16 ask for
    it."""
    with pytest.MonkeyPatch.context() as patch:
        if "SIGHTLINE_ENGINE__PRECISION" not in os.environ:
            patch.setenv("SIGHTLINE_ENGINE__PRECISION", "float32")
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A catalog of drawn products, built with the real models."""
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that do it no harm."""
    with running(world, tmp_path_factory.mktemp("server") / "server.log") as made:
        yield made


@pytest_asyncio.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the session's server."""
    async with grpc.aio.insecure_channel(server.target) as made:
        yield made


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`: random and exhaustive tests at their full length."""
    parser.addoption("--long", action="store_true", help="random and exhaustive tests at full length")


def pytest_configure(config: pytest.Config) -> None:
    """Sets the effort, and lets signals end programs that tests start.

    `nohup`, or a shell without job control, has them ignored.
    """
    Effort.long = config.getoption("--long")
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
