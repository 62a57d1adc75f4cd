"""Images by link: what is read, what is refused, and every limit."""

import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from sightline_server.ingest.hosts import Waiting
from sightline_server.ingest.images import ImageLimits, ImageSource, UnreadableImageError

LIMITS = ImageLimits(max_bytes=1000, timeout_s=0.2, max_redirects=2)

Handler = Callable[[httpx.Request], httpx.Response]


async def read(link: str, root: Path, handler: Handler | None = None, limits: ImageLimits = LIMITS) -> bytes:
    transport = httpx.MockTransport(handler) if handler else None
    async with ImageSource(root, limits, transport, waiting=Waiting(sleep=no_sleep)) as source:
        return await source.read(link)


async def no_sleep(seconds: float) -> None:
    """Stands for the waits between attempts."""


async def refusal(link: str, root: Path, handler: Handler | None = None) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        await read(link, root, handler)
    return str(caught.value)


async def test_files_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "ü.jpg").write_bytes(b"picture")
    assert await read("a b/ü.jpg", tmp_path) == b"picture"
    assert await read("./a b/../a b/ü.jpg", tmp_path) == b"picture"
    assert await read(str(tmp_path / "a b" / "ü.jpg"), tmp_path) == b"picture"


async def test_the_folder_may_be_a_link_but_files_do_not_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "out.jpg").symlink_to(tmp_path / "secret")
    assert await read("a.jpg", tmp_path / "linked") == b"picture"
    for link in ("../secret", "out.jpg", str(tmp_path / "secret")):
        assert "leaves the folder" in await refusal(link, tmp_path / "linked")


@pytest.mark.parametrize("link", ["none.jpg", ".", "a\0b.jpg", "x" * 5000])
async def test_paths_that_are_no_files(tmp_path: Path, link: str) -> None:
    assert await refusal(link, tmp_path)


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "stühl é.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("folder", ["", "möbel", "mo\u0308bel", "a/möbel"])
@pytest.mark.parametrize(("stored", "asked"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
async def test_a_name_in_another_normal_form_is_found(tmp_path: Path, folder: str, stored: str, asked: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / stored).write_bytes(b"picture")
    for form in ("NFC", "NFD"):
        assert await read(f"{unicodedata.normalize(form, folder)}/{asked}".lstrip("/"), tmp_path) == b"picture"


async def test_a_name_that_mixes_normal_forms_is_found(tmp_path: Path) -> None:
    (tmp_path / f"é{DECOMPOSED}").write_bytes(b"picture")
    assert await read(f"e\u0301{COMPOSED}", tmp_path) == b"picture"


async def test_the_exact_name_wins_over_another_normal_form(tmp_path: Path) -> None:
    (tmp_path / COMPOSED).write_bytes(b"composed")
    (tmp_path / DECOMPOSED).write_bytes(b"decomposed")
    assert await read(COMPOSED, tmp_path) == b"composed"
    assert await read(DECOMPOSED, tmp_path) == b"decomposed"


async def test_another_normal_form_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / DECOMPOSED).symlink_to(tmp_path / "secret")
    assert "leaves the folder" in await refusal(COMPOSED, tmp_path / "real")
    (tmp_path / "o\u0308ut").mkdir()
    (tmp_path / "o\u0308ut" / "a.jpg").write_bytes(b"secret")
    assert await refusal("../öut/a.jpg", tmp_path / "real")


@pytest.mark.parametrize(
    "link",
    [
        "a b/ü.jpg",
        "a%20b/%C3%BC.jpg",
        "a b\\ü.jpg",
        "a%20b\\u%CC%88.jpg",
        "a b/ü.jpg?v=2",
        f"a b/ü.jpg?X-Amz-Signature={'0' * 300}",
        " a b/ü.jpg\n",
        "./a b/ü.jpg",
    ],
)
async def test_other_spellings_of_a_path_are_found(tmp_path: Path, link: str) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "ü.jpg").write_bytes(b"picture")
    assert await read(link, tmp_path) == b"picture"


@pytest.mark.parametrize(
    "link", ["%2e%2e/secret", "..\\secret", "a%2f..%2f..%2fsecret", "../secret?v=1", "..%5csecret"]
)
async def test_no_spelling_leaves_the_folder(tmp_path: Path, link: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "real").mkdir()
    assert await refusal(link, tmp_path / "real")


async def test_a_name_with_special_characters_is_exact_before_anything_else(tmp_path: Path) -> None:
    for name in ("100%25.jpg", "100%.jpg", "a\\b.jpg", "what?.jpg", "a:b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
        assert await read(name, tmp_path) == name.encode()


async def test_a_file_over_the_limit(tmp_path: Path) -> None:
    (tmp_path / "whole.jpg").write_bytes(b"x" * 1000)
    (tmp_path / "large.jpg").write_bytes(b"x" * 1001)
    assert len(await read("whole.jpg", tmp_path)) == 1000
    assert "larger than 1000 bytes" in await refusal("large.jpg", tmp_path)


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://shop.example/a.jpg", "FILE://x"])
async def test_other_kinds_of_links(tmp_path: Path, link: str) -> None:
    assert "are not read" in await refusal(link, tmp_path)


async def test_a_download(tmp_path: Path) -> None:
    assert await read("HTTPS://shop.example/a.jpg", tmp_path, lambda _: httpx.Response(200, content=b"p")) == b"p"


async def test_redirects_are_followed_within_bounds(tmp_path: Path) -> None:
    def hops(request: httpx.Request) -> httpx.Response:
        left = int(request.url.path.strip("/"))
        if left == 0:
            return httpx.Response(200, content=b"end")
        return httpx.Response(302, headers={"location": f"/{left - 1}"})

    assert await read("http://shop.example/2", tmp_path, hops) == b"end"
    assert "redirects" in await refusal("http://shop.example/3", tmp_path, hops)


async def test_a_download_stops_at_the_limit(tmp_path: Path) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b"x" * 100

    reply = await refusal("http://shop.example/a", tmp_path, lambda _: httpx.Response(200, content=endless()))
    assert "larger than 1000 bytes" in reply
    assert len(sent) <= 12


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (500, 3), (503, 3), (408, 3)])
async def test_faults_of_the_server_are_tried_three_times_ours_once(tmp_path: Path, status: int, asked: int) -> None:
    requests = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status)

    assert f"answered {status}" in await refusal("http://shop.example/a", tmp_path, answer)
    assert len(requests) == asked


async def test_a_connection_that_breaks_once_is_made_again(tmp_path: Path) -> None:
    failures = [httpx.ConnectError("reset")]

    def answer(request: httpx.Request) -> httpx.Response:
        if failures:
            raise failures.pop()
        return httpx.Response(200, content=b"second")

    assert await read("http://shop.example/a", tmp_path, answer) == b"second"


@pytest.mark.parametrize("link", ["http://", "http://[::1", "https://a b/c", "http://shop.example:99999/"])
async def test_addresses_that_are_none(tmp_path: Path, link: str) -> None:
    assert await refusal(link, tmp_path)
