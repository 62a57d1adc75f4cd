"""The small shop, and one server on it for all tests here that leave it whole."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.rest import good_answer
from tests.support.small_shop import SmallShop, build_small_shop, serving
from tests.support.world import RunningServer


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SmallShop:
    """A catalog of forty products on tiny models."""
    return build_small_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def shop_server(shop: SmallShop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the tests whose fault must not leave a trace. It is slow to find a call slow, or an engine dead.

    So a test may pause its engine for some seconds, and the limit on calls stays what it is.
    """
    settings = {
        "SIGHTLINE_LIMITS__TARGET_FIRST_RESULT_S": "20",
        "SIGHTLINE_ENGINE__PROBE_TIMEOUT_S": "20",
        "SIGHTLINE_BATCHING__FRAMES__MAX_WAITING": "4",
        "SIGHTLINE_BATCHING__FRAMES__MAX_BATCH": "2",
        # The tiny detector calls some colours a person, which would be greyed out.
        "SIGHTLINE_DETECTION__REDACT_PEOPLE": "false",
    }
    with serving(shop, tmp_path_factory.mktemp("shop-server") / "server.log", **settings) as server:
        asyncio.run(warm(server))
        yield server


async def warm(server: RunningServer) -> None:
    """Calls side by side, so that every thread and buffer that comes with the first calls is there."""
    for _ in range(3):
        await asyncio.gather(*(good_answer(server) for _ in range(4)))
