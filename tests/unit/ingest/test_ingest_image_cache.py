"""The download cache: what it gives back, what it takes for a miss, and what it leaves on the disk."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.downloads import Body
from sightline_server.ingest.image_cache import DAY_S, CacheLimits, ImageCache
from sightline_server.ingest.images import ImageLimits, ImageSource, UnreadableImageError
from sightline_server.ingest.links import classify
from tests.support.clock import HandClock

URL = "https://shop.example/a.jpg?Signature=secret"
BODY = Body(b"image\nof two lines", '"e1"', "Tue, 01 Jan 2030 00:00:30 GMT")
LIMIT = 1000


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    ImageCache(tmp_path).put(URL, BODY)
    kept = ImageCache(tmp_path).get(URL, LIMIT)
    assert kept is not None
    assert (kept.body, kept.fresh) == (BODY, True)
    assert ImageCache(tmp_path).get(URL + "x", LIMIT) is None


def test_the_folder_is_private_and_holds_no_link(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "new" / "cache")
    cache.put(URL, BODY)
    own = tmp_path / "new" / "cache" / "sightline-images"
    assert stat.S_IMODE(own.stat().st_mode) == stat.S_IMODE(own.parent.stat().st_mode) == 0o700
    [entry] = files(own)
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert b"shop.example" not in entry.read_bytes()
    assert b"secret" not in entry.read_bytes() + str(entry).encode()


def test_a_folder_that_was_open_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "sightline-images").mkdir(mode=0o777)
    ImageCache(tmp_path)
    assert stat.S_IMODE((tmp_path / "sightline-images").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["file", "link", "parent"])
def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "sightline-images").write_bytes(b"")
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "sightline-images").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "parent").write_bytes(b"")
    with pytest.raises(SightlineError, match="image cache") as caught:
        ImageCache(tmp_path / "parent" if kind == "parent" else tmp_path)
    assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry[:-1],
        lambda entry: entry + b"x",
        lambda entry: entry[:-3] + bytes([entry[-3] ^ 1]) + entry[-2:],
        lambda entry: b"",
        lambda entry: b"[" * 100_000,
        lambda entry: b"[]\n" + entry,
        lambda entry: b"\xff\xfe\n",
        lambda entry: entry.replace(b"sightline-image-1", b"sightline-image-2"),
    ],
)
def test_a_damaged_entry_is_a_miss_and_is_written_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache = ImageCache(tmp_path)
    cache.put(URL, BODY)
    [path] = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(URL, LIMIT) is None
    cache.put(URL, BODY)
    assert cache.get(URL, LIMIT) is not None


def test_an_entry_of_another_link_is_a_miss(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    cache.put(URL, BODY)
    cache.put("https://shop.example/b.jpg", Body(b"other"))
    first, second = files(tmp_path)
    entry = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(entry)
    assert cache.get(URL, LIMIT) is None


def test_an_image_over_the_limit_is_a_miss(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    cache.put(URL, Body(bytes(LIMIT + 1)))
    assert cache.get(URL, LIMIT) is None
    assert cache.get(URL, LIMIT + 1) is not None


def test_entries_age(tmp_path: Path) -> None:
    clock = HandClock(1e9)
    cache = ImageCache(tmp_path, now=clock)
    cache.put(URL, BODY)
    for now, fresh in ((1e9 + DAY_S - 1, True), (1e9 + DAY_S + 1, False), (1e9 - DAY_S - 1, False)):
        clock.now = now
        kept = cache.get(URL, LIMIT)
        assert kept is not None
        assert kept.fresh is fresh
    clock.now = 1e9 + 2 * DAY_S
    assert cache.renew(URL, LIMIT) == BODY
    kept = cache.get(URL, LIMIT)
    assert kept is not None
    assert kept.fresh


def test_opening_removes_what_is_old_and_what_killed_builds_left(tmp_path: Path) -> None:
    clock = HandClock(1e9)
    cache = ImageCache(tmp_path, now=clock)
    cache.put(URL, BODY)
    [entry] = files(tmp_path)
    leftover = entry.with_name(".part-abc")
    leftover.write_bytes(b"half")
    os.utime(leftover, (1e9, 1e9))
    clock.now = 1e9 + 2 * DAY_S
    ImageCache(tmp_path, now=clock)
    assert files(tmp_path) == [entry]
    clock.now = 1e9 + 31 * DAY_S
    ImageCache(tmp_path, now=clock)
    assert files(tmp_path) == []


@pytest.mark.parametrize("max_bytes", [1 << 30, 1])
def test_what_cannot_be_removed_costs_no_build(tmp_path: Path, max_bytes: int) -> None:
    ImageCache(tmp_path).put("https://shop.example/a.jpg", Body(b"image"))
    (entry,) = (tmp_path / "sightline-images").glob("??/*")
    foreign = entry.parent / "folder"
    foreign.mkdir()
    os.utime(foreign, (0, 0))
    ImageCache(tmp_path, CacheLimits(max_bytes=max_bytes))
    assert foreign.exists()
    assert entry.exists() is (max_bytes > 1)


def test_a_full_cache_says_so_once_and_makes_room_when_it_is_opened_again(tmp_path: Path) -> None:
    clock = HandClock(1e9)
    notices: list[str] = []
    limits = CacheLimits(max_bytes=5000)
    cache = ImageCache(tmp_path, limits, notices.append, clock)
    for number in range(10):
        clock.now += 1
        cache.put(f"{URL}{number}", Body(bytes(800)))
    assert len(files(tmp_path)) == 4
    assert len(notices) == 1
    assert "full" in notices[0]
    ImageCache(tmp_path, CacheLimits(max_bytes=3000), now=clock)
    assert len(files(tmp_path)) == 2
    assert cache.get(f"{URL}3", LIMIT) is not None, "the newest entries stay"


def test_a_disk_that_refuses_costs_no_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []
    cache = ImageCache(tmp_path, notify=notices.append)

    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    cache.put(URL, BODY)
    cache.put(URL, BODY)
    assert notices == ["the image cache cannot be written (No space left on device); no more images are stored"]
    assert files(tmp_path) == []


class Shop:
    """A server of one image, and how it was asked."""

    def __init__(self, cache: ImageCache, status: int = 200, body: bytes = b"image") -> None:
        self.requests: list[httpx.Request] = []
        self.status, self.body = status, body
        self._cache = cache

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        known = request.headers.get("if-none-match") == '"e1"'
        headers = {"etag": '"e1"', "last-modified": "Tue, 01 Jan 2030 00:00:30 GMT"}
        return httpx.Response(304 if known and self.status == 200 else self.status, headers=headers, content=self.body)

    async def read(self, *, usable: bool = True) -> bytes:
        async def work(image: bytes) -> bytes:
            if not usable:
                raise UnreadableImageError("no image")
            return image

        transport = httpx.MockTransport(self.answer)
        async with ImageSource(Path(), ImageLimits(max_bytes=LIMIT), transport, cache=self._cache) as source:
            return await source.use(classify(URL), work)


async def test_a_fresh_entry_is_used_without_asking(tmp_path: Path) -> None:
    shop = Shop(ImageCache(tmp_path))
    assert [await shop.read(), await shop.read()] == [b"image", b"image"]
    assert len(shop.requests) == 1


async def test_an_old_entry_is_used_when_its_server_confirms_it(tmp_path: Path) -> None:
    clock = HandClock(1e9)
    shop = Shop(ImageCache(tmp_path, now=clock))
    await shop.read()
    clock.now += 2 * DAY_S
    assert await shop.read() == b"image"
    assert shop.requests[1].headers["if-none-match"] == '"e1"'
    assert shop.requests[1].headers["if-modified-since"] == "Tue, 01 Jan 2030 00:00:30 GMT"
    assert await shop.read() == b"image"
    assert len(shop.requests) == 2


async def test_an_image_that_is_gone_is_not_served_from_the_cache(tmp_path: Path) -> None:
    clock = HandClock(1e9)
    shop = Shop(ImageCache(tmp_path, now=clock))
    await shop.read()
    clock.now += 2 * DAY_S
    shop.status = 404
    with pytest.raises(UnreadableImageError, match="404"):
        await shop.read()


async def test_what_is_not_an_image_is_not_kept(tmp_path: Path) -> None:
    shop = Shop(ImageCache(tmp_path), body=b"<html>sorry</html>")
    with pytest.raises(UnreadableImageError):
        await shop.read(usable=False)
    assert files(tmp_path) == []


async def test_a_damaged_entry_is_downloaded_again(tmp_path: Path) -> None:
    shop = Shop(ImageCache(tmp_path))
    await shop.read()
    [path] = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert await shop.read() == b"image"
    assert len(shop.requests) == 2
