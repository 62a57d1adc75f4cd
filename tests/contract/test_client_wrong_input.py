"""Whatever a caller passes, it meets a `SightlineError` or an answer, in both clients."""

import asyncio
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline_client import (
    AsyncClient,
    Box,
    Client,
    ClientOptions,
    ConfigurationError,
    Filter,
    InvalidRequestError,
    Lane,
    Point,
    PriceRange,
    RetryOptions,
    SightlineError,
    TlsOptions,
)
from tests.support.fake_lens import FakeLens, serving

PHOTO = b"\xff\xd8 a photo"

numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**31 - 1, 2**31, 2**40, -1, 10**400, -(10**5000)]),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 5e-324, 1.5, -0.0]),
    st.booleans(),
    st.decimals(),
    st.complex_numbers(),
)
texts = st.text(st.characters(exclude_categories=()), max_size=40)
anything = st.one_of(
    numbers,
    texts,
    st.none(),
    st.binary(max_size=20),
    st.lists(numbers, max_size=3),
    st.dictionaries(texts, numbers, max_size=2),
    st.sampled_from([object(), type, Lane.BATCH, Box.whole(), range(3), memoryview(b"abc"), bytearray(b"abc")]),
)
regions = st.one_of(
    anything,
    st.lists(
        st.one_of(st.builds(Box, anything, anything, anything, anything), st.builds(Point, numbers, numbers), anything),
        max_size=3,
    ),
)
photos = st.one_of(st.just(PHOTO), anything, st.binary(max_size=64).map(lambda data: memoryview(data)[::2]))
conditions = st.one_of(anything, st.lists(st.one_of(texts, numbers), max_size=3))
filters = st.one_of(
    anything,
    st.builds(
        Filter,
        brands=conditions,
        prices=st.one_of(anything, st.lists(st.builds(PriceRange, anything, anything, anything), max_size=2)),
        attributes=st.one_of(anything, st.dictionaries(texts, conditions, max_size=2)),
        product_ids=conditions,
    ),
)
calls = st.fixed_dictionaries(
    {"photo": photos},
    optional={
        "regions": regions,
        "catalog": anything,
        "max_objects": anything,
        "max_products": anything,
        "min_similarity": anything,
        "lane": anything,
        "one_per_group": anything,
        "look_closer": anything,
        "text": anything,
        "text_weight": anything,
        "filter": filters,
        # No finite positive number: the test would wait for it, and a tiny one is a deadline that passes.
        "timeout_s": st.one_of(st.sampled_from([math.nan, math.inf, -1.0, 0, 1e10, 20.0]), texts, st.none()),
        "unknown": anything,
    },
)


@pytest.fixture
def ask() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Makes a call with the asynchronous client, on a server that answers every request."""
    with asyncio.Runner() as runner:
        scope = serving(FakeLens())
        target = runner.run(scope.__aenter__())
        client = AsyncClient(target)

        def call(arguments: dict[str, Any]) -> None:
            runner.run(client.find(**arguments))

        yield call
        runner.run(client.close())
        runner.run(scope.__aexit__(None, None, None))


@given(arguments=calls)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_ends_in_an_answer_or_in_our_error(
    ask: Callable[[dict[str, Any]], None], arguments: dict[str, Any]
) -> None:
    error = None
    try:
        ask(arguments)
    except SightlineError as raised:
        error = raised
    assert error is None or error.one_line().isprintable()
    assert not isinstance(error, InvalidRequestError) or error.violations[0].field


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(anything, numbers)
            for name in (
                "target",
                "tls",
                "insecure",
                "timeout_s",
                "max_photo_bytes",
                "max_answer_bytes",
                "channels",
                "retry",
            )
        },
    ),
    retry=st.fixed_dictionaries({}, optional=dict.fromkeys(("attempts", "first_delay_s", "max_delay_s"), anything)),
)
@settings(max_examples=400, deadline=None)
def test_options_are_taken_or_refused_by_our_error(values: dict[str, Any], retry: dict[str, Any]) -> None:
    try:
        options = ClientOptions(**{"retry": RetryOptions(**retry), **values})
    except ConfigurationError:
        return
    for _, value in options.channel_arguments():
        assert isinstance(value, str) or -(2**31) <= value < 2**31


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_objects": 2**40}, "max_objects"),
    ({"max_objects": -1}, "max_objects"),
    ({"max_products": 1.5}, "max_products"),
    ({"max_products": True}, "max_products"),
    ({"max_products": "3"}, "max_products"),
    ({"min_similarity": math.nan}, "min_similarity"),
    ({"min_similarity": 1.5}, "min_similarity"),
    ({"min_similarity": Decimal("sNaN")}, "min_similarity"),
    ({"regions": [Box(0, 0, math.nan, 1)]}, "regions[0].box.x_max"),
    ({"regions": [Box.whole(), Point(math.inf, 0)]}, "regions[1].tap.x"),
    ({"regions": [Point(0, 1e300)]}, "regions[0].tap.y"),
    ({"regions": [Point(0, 10**400)]}, "regions[0].tap.y"),
    ({"regions": [Point(cast(float, "0"), 0)]}, "regions[0].tap.x"),
    ({"regions": Box.whole()}, "regions"),
    ({"regions": [(0, 0, 1, 1)]}, "regions[0]"),
    ({"catalog": "sho\udcf6s"}, "catalog"),
    ({"catalog": b"shoes"}, "catalog"),
    ({"lane": "batch"}, "lane"),
    ({"one_per_group": 1}, "one_per_group"),
    ({"look_closer": 1}, "look_closer"),
    ({"look_closer": None}, "look_closer"),
    ({"text": 3}, "text"),
    ({"text": " "}, "text"),
    ({"text": "sho\udcf6s"}, "text"),
    ({"text": "in blue", "text_weight": 1.5}, "text_weight"),
    ({"text": "in blue", "text_weight": math.nan}, "text_weight"),
    ({"text_weight": 0.5}, "text_weight"),
    ({"timeout_s": 0}, "timeout_s"),
    ({"timeout_s": -1}, "timeout_s"),
    ({"timeout_s": math.nan}, "timeout_s"),
    ({"timeout_s": "5"}, "timeout_s"),
    ({"photo": "room.jpg"}, "photo"),
    ({"max_object": 3}, "max_object"),
]


@pytest.mark.parametrize(("arguments", "field"), WRONG, ids=[str(arguments)[:40] for arguments, _ in WRONG])
async def test_the_error_names_the_field(arguments: dict[str, Any], field: str) -> None:
    def blocking() -> None:
        with Client("127.0.0.1:1") as client:
            client.find(**{"photo": PHOTO, **arguments})

    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.find(**{"photo": PHOTO, **arguments})
    with pytest.raises(InvalidRequestError) as again:
        await asyncio.to_thread(blocking)
    assert [each.field for each in caught.value.violations] == [field]
    assert again.value.message == caught.value.message
    assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    "target",
    ["", " ", "foo bar", "127.0.0.1:99999", "127.0.0.1:0", "host", "::1", "host:", "host:http", ":1", "http://h:1",
     "h\x00:1", "h\x1b:1",
     "\udce4:1", 5, b"127.0.0.1:1"],
)  # fmt: skip
def test_a_broken_target_is_a_configuration_error(target: Any) -> None:
    for make in (ClientOptions, AsyncClient, Client):
        with pytest.raises(ConfigurationError, match=r"cannot connect to|target must be"):
            make(target)


@pytest.mark.parametrize("target", ["h:1", "[::1]:50051", "dns:///h:1", "unix:/run/lens", "ipv4:127.0.0.1:1"])
def test_every_form_of_target_is_taken(target: str) -> None:
    assert ClientOptions(target, insecure=True).target == target


def test_a_file_that_is_no_certificate_is_named(tmp_path: Any) -> None:
    (tmp_path / "wrong.pem").write_bytes(b"\x00\xff garbage")
    wrong = tmp_path / "wrong.pem"
    for tls in (
        TlsOptions(root_ca=wrong),
        TlsOptions(client_cert=wrong, client_key=wrong),
        TlsOptions(root_ca=tmp_path),
    ):
        with pytest.raises(ConfigurationError, match=str(tmp_path)):
            AsyncClient(ClientOptions(tls=tls))
