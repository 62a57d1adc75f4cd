"""Hosts of image links: which are asked, which are not, and that a refusal says nothing about the network."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from sightline_server.ingest.host_check import HostCheck, UnreachableImageError
from tests.support.image_network import PUBLIC, Names

SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.1.",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "0",
    "0.0.0.0",
    "10.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "[::1]",
    "::1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "fe80::1%25eth0",
    "fe80::1%eth0",
    "1.2.3.4.5",
    "256.1.1.1",
    "4294967296",
    "0x",
    "shop.example.0x7f",
    "shop.example.1",
    "::1::",
]


async def refusal(check: HostCheck, host: str) -> str:
    with pytest.raises(UnreachableImageError) as caught:
        await check.addresses(host)
    return str(caught.value)


@pytest.mark.parametrize("host", SPELLINGS)
async def test_private_address_in_any_spelling_is_refused_without_a_lookup(host: str) -> None:
    names = Names()
    check = HostCheck(lookup=names)
    await refusal(check, host)
    with pytest.raises(UnreachableImageError):
        await check.check_for_proxy(host, 1.0)
    assert names.asked == []


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "printer.local", "metadata.google.internal", "metadata", "x.home.arpa."],
)
async def test_name_for_private_use_is_refused_without_a_lookup(host: str) -> None:
    names = Names(**{host: [[PUBLIC]]})
    await refusal(HostCheck(lookup=names), host)
    with pytest.raises(UnreachableImageError):
        await HostCheck(lookup=names).check_for_proxy(host, 1.0)
    assert names.asked == []


async def test_name_for_private_use_is_looked_up_where_private_hosts_are_allowed() -> None:
    check = HostCheck(allow_private=True, lookup=Names(images_local=[["192.168.0.7"]], metadata=[["10.0.0.1"]]))
    assert await check.addresses("images.local") == ("192.168.0.7",)
    await refusal(check, "metadata")


@pytest.mark.parametrize(
    ("host", "addresses"),
    [("8.8.8.8", ("8.8.8.8",)), ("134744072", ("8.8.8.8",)), ("[2606:2800::1]", ("2606:2800::1",))],
)
async def test_public_address_is_asked_as_it_is(host: str, addresses: tuple[str, ...]) -> None:
    assert await HostCheck(lookup=Names()).addresses(host) == addresses


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::1"], [PUBLIC, "fe80::1%eth0"], ["0.0.0.0"]],
)
async def test_name_is_refused_where_one_of_its_addresses_is_not_public(found: Sequence[str]) -> None:
    await refusal(HostCheck(lookup=Names(shop_example=[found])), "shop.example")


async def test_public_name_is_asked_at_all_its_addresses_in_order() -> None:
    found = ["2606:2800::1", PUBLIC]
    assert await HostCheck(lookup=Names(shop_example=[found])).addresses("shop.example") == tuple(found)


async def test_every_refusal_reads_alike(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sightline_server")
    check = HostCheck(lookup=Names(inner_example=[["10.0.0.1"]], empty_example=[[]]))
    hosts = ["inner.example", "none.example", "empty.example", "127.0.0.1", "256.1.1.1", "localhost"]
    texts = {await refusal(check, host) for host in hosts}
    texts.add(str(check.no_answer("shop.example", "ConnectError")))
    assert len(texts) == 1
    assert "--allow-private-images" in texts.pop()
    assert "image host inner.example: the address 10.0.0.1 is not allowed" in caplog.messages
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


async def test_option_is_not_named_where_it_is_set() -> None:
    assert (
        await refusal(HostCheck(allow_private=True, lookup=Names()), "none.example") == "no answer from the image host"
    )


async def test_proxy_decides_on_a_name_that_is_not_known_here() -> None:
    await HostCheck(lookup=Names()).check_for_proxy("shop.example", 1.0)


async def test_proxy_is_not_asked_for_a_name_that_is_private_here() -> None:
    with pytest.raises(UnreachableImageError):
        await HostCheck(lookup=Names(inner_example=[["10.0.0.1"]])).check_for_proxy("inner.example", 1.0)


async def test_proxy_is_asked_without_another_lookup_for_a_name_that_was_allowed() -> None:
    names = Names(shop_example=[[PUBLIC]])
    check = HostCheck(lookup=names)
    for _ in range(3):
        await check.check_for_proxy("shop.example", 1.0)
    assert names.asked == ["shop.example"]


async def test_slow_lookup_leaves_the_decision_to_the_proxy() -> None:
    async def silent(name: str) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    await HostCheck(lookup=silent).check_for_proxy("shop.example", 0.01)


async def test_system_knows_loopback_by_name() -> None:
    assert "127.0.0.1" in await HostCheck(allow_private=True).addresses("localhost")
