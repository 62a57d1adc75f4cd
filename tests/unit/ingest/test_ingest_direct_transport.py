"""Direct connections: the address that was checked is the one that is asked, under the name of the link."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import httpcore
import pytest

from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.hosts import RetryLimits
from sightline_server.ingest.images import ImageLimits, ImageSource, UnreadableImageError
from tests.support.authority import Authority
from tests.support.image_network import PUBLIC, LoopbackNetwork, Names, listening, reply

RETRY = RetryLimits(first_wait_s=0.001, longest_wait_s=0.001)
LIMITS = ImageLimits(max_bytes=1000, timeout_s=5.0, connect_timeout_s=2.0, max_redirects=3, retry=RETRY)
OTHER = "93.184.215.15"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


class Web:
    """Image downloads through `network`, whose names are `names`."""

    def __init__(self, names: Names, dead: Sequence[str] = (), *, allow_private: bool = False) -> None:
        self.network = LoopbackNetwork(dead)
        self._checked = CheckedNetwork(HostCheck(lookup=names, allow_private=allow_private), self.network)

    async def read(self, *links: str) -> list[bytes | str]:
        """The image of each link, or why there is none, one after the other over the same connections."""
        answers: list[bytes | str] = []
        async with ImageSource(Path(), LIMITS, network=self._checked) as source:
            for link in links:
                try:
                    answers.append(await source.read(link))
                except UnreadableImageError as error:
                    answers.append(str(error))
        return answers


async def test_request_goes_to_the_checked_address_under_the_name_of_the_link() -> None:
    web = Web(Names(shop_example=[[PUBLIC]]))
    async with listening(reply()) as listener:
        assert await web.read(f"http://shop.example:{listener.port}/a.jpg") == [b"image"]
    assert web.network.connected == [(PUBLIC, listener.port)]
    assert f"\r\nHost: shop.example:{listener.port}\r\n".encode() in listener.requests[0]


async def test_name_is_looked_up_once_for_a_connection() -> None:
    """A second answer, as in DNS rebinding, is never used: not for the connection, nor while it is kept."""
    names = Names(shop_example=[[PUBLIC], ["127.0.0.1"]])
    web = Web(names)
    async with listening(reply()) as listener:
        link = f"http://shop.example:{listener.port}/a.jpg"
        assert await web.read(link, link) == [b"image", b"image"]
    assert (names.asked, web.network.connected) == (["shop.example"], [(PUBLIC, listener.port)])


async def test_name_that_became_private_is_refused_for_the_next_connection() -> None:
    web = Web(Names(shop_example=[[PUBLIC], ["127.0.0.1"]]))
    async with listening(reply(b"image", "200 OK", "Connection: close")) as listener:
        link = f"http://shop.example:{listener.port}/a.jpg"
        first, second = await web.read(link, link)
        assert listener.connections == 1
    assert first == b"image"
    assert str(second).startswith("no answer from the image host")


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://localhost:{port}/",
        "//localhost.:{port}/",
        "http://0:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://inner.example:{port}/",
        "http://none.example:{port}/",
    ],
)
async def test_each_redirect_is_checked_again(target: str) -> None:
    web = Web(Names(shop_example=[[PUBLIC]], inner_example=[["127.0.0.1"]]))

    async def answer(writer: asyncio.StreamWriter) -> None:
        await reply(b"", "302 Found", f"Location: {target.format(port=listener.port)}")(writer)

    async with listening(answer) as listener:
        [text] = await web.read(f"http://shop.example:{listener.port}/a.jpg")
    assert str(text).startswith("no answer from the image host")
    assert web.network.connected == [(PUBLIC, listener.port)]
    assert listener.connections == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://shop.example/a.jpg", "gopher://127.0.0.1:1/x"])
async def test_redirect_to_another_kind_of_address_is_refused(target: str) -> None:
    async with listening(reply(b"", "302 Found", f"Location: {target}")) as listener:
        [text] = await Web(Names(shop_example=[[PUBLIC]])).read(f"http://shop.example:{listener.port}/a.jpg")
    assert text == "the server redirects to an address that is not http or https"


async def test_tls_speaks_to_the_name_and_not_to_the_address(tmp_path: Path, no_proxies: pytest.MonkeyPatch) -> None:
    authority, seen = Authority(tmp_path), []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.cert, authority.key)
    context.sni_callback = lambda connection, name, _: seen.append(name)
    no_proxies.setenv("SSL_CERT_FILE", str(authority.root))
    # The certificate of the authority is one for "localhost", which only a private network may be asked for.
    web = Web(Names(localhost=[["10.0.0.1"]], shop_example=[["10.0.0.1"]]), allow_private=True)
    async with listening(reply(), ssl=context) as listener:
        good = await web.read(f"https://localhost:{listener.port}/a.jpg")
        wrong = await web.read(f"https://shop.example:{listener.port}/a.jpg")
    assert good == [b"image"]
    assert wrong == ["no answer from the image host"], "the certificate is not one of shop.example"
    assert seen[:2] == ["localhost", "shop.example"]
    assert {address for address, _ in web.network.connected} == {"10.0.0.1"}


async def test_next_address_is_tried_where_one_does_not_answer() -> None:
    web = Web(Names(shop_example=[[OTHER, PUBLIC]]), dead=[OTHER])
    async with listening(reply()) as listener:
        assert await web.read(f"http://shop.example:{listener.port}/a.jpg") == [b"image"]
    assert web.network.connected == [(OTHER, listener.port), (PUBLIC, listener.port)]


class OwnStream(httpcore.AsyncMockStream):
    """A connection of a machine to one of the machine's addresses."""

    closed = False

    def get_extra_info(self, info: str) -> object:
        return (PUBLIC, 40_000) if info == "client_addr" else super().get_extra_info(info)

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("allow_private", [True, False])
async def test_public_address_of_this_machine_is_not_asked(allow_private: bool) -> None:
    stream = OwnStream([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nimage"])

    class OneStream(httpcore.AsyncMockBackend):
        async def connect_tcp(self, *arguments: object, **options: object) -> httpcore.AsyncNetworkStream:
            return stream

    hosts = HostCheck(lookup=Names(shop_example=[[PUBLIC]]), allow_private=allow_private)
    async with ImageSource(Path(), LIMITS, network=CheckedNetwork(hosts, OneStream([]))) as source:
        if allow_private:
            assert await source.read("http://shop.example/a.jpg") == b"image"
            return
        with pytest.raises(UnreadableImageError, match="no answer from the image host"):
            await source.read("http://shop.example/a.jpg")
    assert stream.closed


async def silent(writer: asyncio.StreamWriter) -> None:
    """Answers nothing and keeps the connection."""


async def ssh(writer: asyncio.StreamWriter) -> None:
    """Answers as a server of another protocol."""
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\nProtocol mismatch.\r\n\r\n")
    await writer.drain()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Ends the connection."""
    writer.close()


@pytest.mark.parametrize("allow_private", [True, False])
async def test_open_and_closed_ports_read_alike(allow_private: bool) -> None:
    """Also where private hosts are allowed: ports without HTTP are indistinguishable from closed ones."""
    names = Names(shop_example=[["10.0.0.1"] if allow_private else [PUBLIC]])
    web = Web(names, allow_private=allow_private)
    async with listening(hang_up) as closed:
        pass
    async with listening(ssh) as second, listening(hang_up) as third:
        ports = [second.port, third.port, closed.port]
        texts = await web.read(*(f"http://shop.example:{port}/a.jpg" for port in ports), "http://none.example/a.jpg")
    assert len(set(texts)) == 1
    assert str(texts[0]).startswith("no answer from the image host")


async def test_silent_port_reads_like_a_closed_one() -> None:
    limits = ImageLimits(timeout_s=1.0, retry=RETRY)
    checked = CheckedNetwork(HostCheck(lookup=Names(shop_example=[[PUBLIC]])), LoopbackNetwork())
    async with listening(silent) as listener, ImageSource(Path(), limits, network=checked) as source:
        with pytest.raises(UnreadableImageError, match="no answer from the image host"):
            await source.read(f"http://shop.example:{listener.port}/a.jpg")


async def test_statuses_and_broken_answers_of_public_hosts_are_told() -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    web = Web(Names(shop_example=[[PUBLIC]]))
    async with listening(reply(b"", "404 Not Found")) as missing, listening(half) as broken:
        texts = await web.read(*(f"http://shop.example:{each.port}/a.jpg" for each in (missing, broken)))
    assert texts == ["the server answered 404", "the connection ended before the whole image had arrived"]


async def test_loopback_is_not_asked_without_the_option() -> None:
    async with listening(reply()) as listener, ImageSource(Path(), LIMITS) as source:
        for host in ("127.0.0.1", "127.1", "2130706433", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"):
            with pytest.raises(UnreadableImageError, match="--allow-private-images"):
                await source.read(f"http://{host}:{listener.port}/a.jpg")
        assert listener.connections == 0
