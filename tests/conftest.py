"""Fixtures of more than one folder: the drawn shop, and one real server on it for the whole session.

Importing is cheap; nothing is started before a test asks for it.
"""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio

from tests.support.world import RunningServer, World, build_world, running


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
