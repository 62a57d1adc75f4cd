"""HTTP clients: proxies of the environment, loopback, and which hosts are one origin."""

import httpx
import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.clients import Clients, Requests, proxy_of, same_origin

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SHOP = httpx.URL("https://shop.example/a.jpg")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def open_client(url: httpx.URL = SHOP) -> None:
    clients = Clients(Requests(), 1.0, 1.0)
    clients.of(url)
    await clients.close()


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "address",
    [
        "socks4://user:secret@proxy.example:1",
        "ftp://secret",
        "http://",
        "http://[::1",
        "http://proxy.example:secret",
        "http://proxy.example:99999",
        "secret host",
        ":8080",
        "//proxy.example",
    ],
)
async def test_a_malformed_proxy_is_named_without_its_address(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setenv(name, address)
    url = httpx.URL("http://shop.example/a.jpg") if name == "http_proxy" else SHOP
    with pytest.raises(SightlineError, match=f"{name.lower()} is not a proxy") as caught:
        await open_client(url)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "address",
    ["http://proxy.example:8080", "proxy.example:8080", "socks5://127.0.0.1:1080", "socks5h://u:p@proxy.example:1080"],
)
async def test_proxies_that_are_understood(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    await open_client()


@pytest.mark.parametrize(
    ("no_proxy", "host", "expected"),
    [
        ("", "shop.example", "http_proxy"),
        ("*", "shop.example", ""),
        ("shop.example", "shop.example", ""),
        ("other.example, .shop.example", "cdn.shop.example", ""),
        ("shop.example", "cdn.shop.example:8080", ""),
        ("shop.example", "myshop.example", "http_proxy"),
        ("::1,[::1]:80,10.0.0.0/8,[,]:,a b,,", "shop.example", "http_proxy"),
        ("", "localhost", ""),
        ("", "127.0.0.1:8080", ""),
        ("", "[::1]:8080", ""),
        ("", "bücher.example", "http_proxy"),
    ],
)
async def test_which_hosts_are_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, expected: str
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    monkeypatch.setenv("http_proxy", "http://proxy.example:8080")
    url = httpx.URL(f"http://{host}/a.jpg")
    assert proxy_of(url)[0] == expected
    await open_client(url)


def test_a_proxy_of_the_scheme_wins_over_the_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.example:1")
    monkeypatch.setenv("https_proxy", "http://tls.example:1")
    assert proxy_of(SHOP) == ("https_proxy", "http://tls.example:1")
    assert proxy_of(httpx.URL("http://shop.example/")) == ("all_proxy", "http://all.example:1")


async def test_a_malformed_proxy_does_not_matter_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://proxy.example")
    await open_client(httpx.URL("http://127.0.0.1:1/a.jpg"))


async def test_certificates_that_are_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/does/not/exist.pem")
    with pytest.raises(SightlineError, match="SSL_CERT_FILE"):
        await open_client()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("http://a.example/1", "http://a.example:80/2", True),
        ("http://a.example/1", "https://a.example/2", True),
        ("https://a.example/1", "http://a.example/2", False),
        ("http://a.example:8080/1", "https://a.example/2", False),
        ("https://a.example/1", "https://b.example/2", False),
        ("https://A.example/1", "https://a.example/2", True),
    ],
)
def test_credentials_stay_with_one_origin(first: str, second: str, expected: bool) -> None:
    assert same_origin(httpx.URL(first), httpx.URL(second)) is expected
