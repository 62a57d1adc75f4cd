"""Several channels of one client are several connections, and calls take them in turn."""

import asyncio

import pytest

from sightline_client import AsyncClient, Client, ClientOptions, ConfigurationError, RetryOptions
from tests.support.fake_lens import ANSWER, FakeLens, serving, unavailable

PHOTO = b"\xff\xd8 a photo"


async def test_calls_go_over_one_connection_when_nothing_is_said() -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(target) as client:
        for _ in range(3):
            await client.find(PHOTO)
    assert len(set(fake.peers)) == 1


async def test_calls_take_the_channels_in_turn() -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(ClientOptions(target=target, channels=3)) as client:
        for _ in range(7):
            await client.find(PHOTO)
    first, second, third = fake.peers[:3]
    assert len({first, second, third}) == 3
    assert fake.peers == [first, second, third, first, second, third, first]


async def test_a_second_attempt_goes_over_the_next_channel() -> None:
    fake = FakeLens(lambda call: [unavailable()] if call == 1 else ANSWER)
    options = {"channels": 2, "retry": RetryOptions(first_delay_s=0.001)}
    async with serving(fake) as target, AsyncClient(ClientOptions(target=target, **options)) as client:  # type: ignore[arg-type]
        await client.find(PHOTO)
    assert len(set(fake.peers)) == len(fake.peers) == 2


async def test_two_clients_with_several_channels_share_no_connection() -> None:
    fake = FakeLens()
    async with serving(fake) as target:
        options = ClientOptions(target=target, channels=2)
        async with AsyncClient(options) as one, AsyncClient(options) as other:
            for client in (one, other, one, other):
                await client.find(PHOTO)
    assert len(set(fake.peers)) == 4


async def test_the_blocking_client_has_them_too() -> None:
    fake = FakeLens()
    async with serving(fake) as target:
        await asyncio.to_thread(ask_twice, ClientOptions(target=target, channels=2))
    assert len(set(fake.peers)) == 2


def ask_twice(options: ClientOptions) -> None:
    with Client(options) as client:
        client.find(PHOTO)
        client.find(PHOTO)


def test_no_channel_is_no_client() -> None:
    with pytest.raises(ConfigurationError, match="channels"):
        ClientOptions(channels=0)
