"""The sources of feeds: packed files, web addresses and standard input, all of them bounded."""

import gzip
import io
import sys
import zipfile
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow
from sightline_server.ingest.feeds import download, unpack
from sightline_server.ingest.feeds.options import FeedLimits, FeedOptions
from sightline_server.ingest.feeds.reader import count_rows, read_records
from sightline_server.ingest.feeds.source import opened_feed
from tests.support.feeds import feed_file, products_of

CSV = b"id,image_link\np1,a.jpg\np2,b.jpg\n"
JSON = b'{"id": "p1", "image_link": "a.jpg"}\n{"id": "p2", "image_link": "b.jpg"}\n'


def gzipped(content: bytes) -> bytes:
    """The same bytes at any time, so that tests with them have the same names."""
    return gzip.compress(content, mtime=0)


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("feed.csv.gz", gzipped(CSV)),
        ("feed.csv", gzipped(CSV)),
        ("feed.gz", gzipped(CSV[:9]) + gzipped(CSV[9:])),
        ("feed.jsonl.gz", gzipped(JSON)),
        ("feed.zip", zipped({"feed.csv": CSV})),
        ("feed.zip", zipped({"export": CSV})),
        ("feed.zip", zipped({"__MACOSX/._feed.csv": b"x", ".DS_Store": b"x", "a/feed.csv": CSV, "README.md": b"x"})),
        ("no suffix", JSON),
        ("feed.php", CSV),
        ("feed.csv", JSON),
    ],
)
def test_packed_feeds_and_wrong_names_are_told_by_content(tmp_path: Path, name: str, content: bytes) -> None:
    feed = feed_file(tmp_path, content, name)
    assert products_of(feed) == ["p1", "p2"]
    assert count_rows(feed) == 2


def test_an_open_feed_is_read_again_from_its_beginning(tmp_path: Path) -> None:
    with opened_feed(feed_file(tmp_path, zipped({"feed.csv": CSV}), "feed.zip")) as feed:
        assert count_rows(feed) == 2
        assert [row.product.id for row in read_feed(feed) if isinstance(row, FeedRow)] == ["p1", "p2"]
        assert next(read_feed(feed)).row == 2
        assert count_rows(feed) == 2
        assert (feed.name, feed.parent) == ("feed.zip/feed.csv", tmp_path)


ZEROS = gzipped(b"id,image_link\n" + b"\0" * 30_000_000)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("feed.csv.gz", ZEROS, "larger than 1048576 bytes unpacked"),
        ("feed.zip", zipped({"feed.csv": b"\0" * 30_000_000}), "larger than 1048576 bytes unpacked"),
        ("feed.csv.gz", gzipped(CSV)[:-9], "damaged or cut off"),
        ("feed.csv.gz", gzipped(CSV)[:12] + b"\xff" * 30, "damaged or cut off"),
        ("feed.zip", zipped({"feed.csv": CSV})[:-30], "damaged or cut off"),
        ("feed.csv.gz", gzipped(gzipped(CSV)), "packed twice"),
        ("feed.zip", zipped({"feed.zip": zipped({"feed.csv": CSV})}), "packed twice"),
        ("feed.zip", zipped({"a.csv": CSV, "b.csv": CSV}), "holds 2 feeds instead of one: a.csv, b.csv"),
        ("feed.zip", zipped({}), "holds 0 feeds instead of one"),
        ("feed.xlsx", zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "Excel or office document"),
        ("feed.xls", b"\xd0\xcf\x11\xe0" + b"\0" * 600, "Excel workbook"),
        ("feed.tar", b"\0" * 257 + b"ustar" + b"\0" * 300, "tar archive"),
        ("feed.csv", b"%PDF-1.7", "a PDF document"),
        ("feed.csv.xz", b"\xfd7zXZ\x00 ", "packed by xz"),
        ("feed.csv", b"", "is empty"),
    ],
)
def test_feed_that_cannot_be_unpacked_or_read_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    options = FeedOptions(limits=FeedLimits(free_unpacked_bytes=1 << 20, max_unpack_ratio=10))
    with pytest.raises(SightlineError, match=words) as caught:
        products_of(feed_file(tmp_path, content, name), options)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    content = bytearray(zipped({"feed.csv": CSV}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    with pytest.raises(SightlineError, match="it is encrypted"):
        products_of(feed_file(tmp_path, bytes(content), "feed.zip"))


def test_archives_of_very_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_MEMBERS", 3)
    with pytest.raises(SightlineError, match="holds 4 files, not one feed"):
        products_of(feed_file(tmp_path, zipped({f"{n}.txt": b"" for n in range(4)}), "feed.zip"))


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Piped:
        buffer = io.BytesIO(gzipped(JSON))

    monkeypatch.setattr(sys, "stdin", Piped)
    with opened_feed("-") as feed:
        assert (feed.name, feed.parent, count_rows(feed)) == ("standard input", Path.cwd(), 2)


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SightlineError, match=r"standard input \(-\), which is closed"), opened_feed("-"):
        pass


@pytest.mark.parametrize("link", ["https://[shop.example/b.jpg", "https://shop.example\uff0fb.jpg"])
def test_a_malformed_link_of_a_downloaded_feed_costs_no_product(tmp_path: Path, link: str) -> None:
    path = feed_file(tmp_path, f"id,image_link,additional_image_link\np1,a.jpg,{link}\n".encode())
    (row,) = read_feed(path, FeedOptions(base_url="https://shop.example/feeds/feed.csv"))
    assert isinstance(row, FeedRow)
    assert row.images == ("https://shop.example/feeds/a.jpg", link)


@pytest.mark.parametrize("feed", ["ftp://shop.example/feed.csv", "file:///etc/passwd", "s3://bucket/feed.csv"])
def test_other_kinds_of_addresses_are_refused(feed: str) -> None:
    with pytest.raises(SightlineError, match="feeds are read from a path"), opened_feed(feed):
        pass


@pytest.mark.parametrize(
    "feed",
    [
        "//user:secret@shop.example/feed.csv",
        "https:user:secret@shop.example/feed.csv",
        "http:/user:secret@shop.example/feed.csv",
        " https://user:secret@shop.example/feed.csv",
        "\ufeffhttps://user:secret@shop.example/feed.csv",
        "'https://user:secret@shop.example/feed.csv'",
    ],
)
def test_an_address_that_is_misspelt_is_refused_without_its_password(feed: str) -> None:
    with pytest.raises(SightlineError) as caught, opened_feed(feed):
        pass
    assert "secret" not in str(caught.value)


def test_a_missing_feed_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="no such feed"), opened_feed(tmp_path / "feed.csv"):
        pass
    with pytest.raises(SightlineError, match="is a folder"), opened_feed(tmp_path):
        pass


class Shop(BaseHTTPRequestHandler):
    """A web server whose answers the test sets; it counts requests."""

    answers: dict[str, tuple[int, dict[str, str], bytes]]
    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        status, headers, body = self.answers.get(self.path, (404, {}, b""))
        if "once" in headers:
            self.answers[self.path] = (200, {}, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Shop]]]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = type("OneShop", (Shop,), {"answers": {}, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


def test_a_downloaded_feed_is_fetched_once(shop: tuple[str, type[Shop]]) -> None:
    host, server = shop
    server.answers["/feed"] = (200, {"content-encoding": "gzip"}, gzipped(CSV))
    options = FeedOptions(headers=(("authorization", "Bearer secret"),), user_agent="shop-bot")
    with opened_feed(f"http://{host}/feed", options) as feed:
        assert count_rows(feed) == 2
        assert len(list(read_feed(feed))) == 2
        assert (feed.name, feed.parent) == (f"http://{host}/feed", None)
    [(_, headers)] = server.seen
    assert (headers["authorization"], headers["user-agent"]) == ("Bearer secret", "shop-bot")


def test_headers_of_the_operator_stay_with_the_origin_of_the_feed(shop: tuple[str, type[Shop]]) -> None:
    host, server = shop
    server.answers["/feed"] = (302, {"location": f"http://localhost:{host.rpartition(':')[2]}/moved"}, b"")
    server.answers["/moved"] = (200, {}, CSV)
    options = FeedOptions(headers=(("x-api-key", "secret"),))
    with opened_feed(f"http://{host}/feed", options) as feed:
        assert count_rows(feed) == 2
    assert [headers.get("x-api-key") for _, headers in server.seen] == ["secret", None]


def test_a_feed_on_this_machine_is_asked_without_a_proxy(
    shop: tuple[str, type[Shop]], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, server = shop
    server.answers["/feed"] = (200, {}, CSV)
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with opened_feed(f"http://{host}/feed") as feed:
        assert count_rows(feed) == 2


def test_relative_links_of_a_downloaded_feed_belong_to_its_address(shop: tuple[str, type[Shop]]) -> None:
    host, server = shop
    server.answers["/shop/feed.csv?key=abc"] = (200, {}, CSV + b"p3,//cdn.example/c.jpg\np4,https://x.example/d.jpg\n")
    address = f"http://user:secret@{host}/shop/feed.csv?key=abc"
    options = FeedOptions(base_url=download.base_address(address))
    with opened_feed(address, options) as feed:
        links = [row.product.image_link for row in read_feed(feed, options) if isinstance(row, FeedRow)]
        assert "secret" not in feed.name + "".join(links)
    base = f"http://{host}/shop/"
    assert links == [f"{base}a.jpg", f"{base}b.jpg", "http://cdn.example/c.jpg", "https://x.example/d.jpg"]


@pytest.mark.parametrize("asked", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_busy_server_is_asked_again(shop: tuple[str, type[Shop]], asked: str) -> None:
    host, server = shop
    server.answers["/feed"] = (503, {"retry-after": asked, "once": "1"}, CSV)
    with opened_feed(f"http://{host}/feed") as feed:
        assert count_rows(feed) == 2
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/none?token=secret", None, "the server answered 404"),
        ("/loop", (302, {"location": "/loop"}, b""), "more than 5 redirects"),
        ("/big", (200, {}, b"x" * 2_000_000), "larger than 1000000 bytes"),
        ("/twice", (200, {"content-encoding": "gzip, gzip"}, gzipped(gzipped(CSV))), "packed twice"),
        ("/page", (200, {}, b"<!DOCTYPE html><html><body>Please log in</body></html>"), "is an HTML page"),
        ("/empty", (200, {}, b""), "is empty"),
        ("/busy", (429, {"retry-after": "0"}, b""), "the server answered 429"),
    ],
)
def test_downloads_that_fail_name_no_secret(
    shop: tuple[str, type[Shop]], path: str, answer: tuple[int, dict[str, str], bytes] | None, words: str
) -> None:
    host, server = shop
    if answer:
        server.answers[path] = answer
    options = FeedOptions(limits=FeedLimits(max_bytes=1_000_000))
    with (
        pytest.raises(SightlineError, match=words) as caught,
        opened_feed(f"http://u:secret@{host}{path}", options) as feed,
    ):
        count_rows(feed)
    assert "secret" not in caught.value.message
    assert len(server.seen) <= 6


def test_a_download_has_a_last_moment(shop: tuple[str, type[Shop]]) -> None:
    host, server = shop
    server.answers["/feed"] = (200, {}, CSV)
    options = FeedOptions(limits=FeedLimits(download_s=-1.0))
    with pytest.raises(SightlineError, match="it is not complete after"), opened_feed(f"http://{host}/feed", options):
        pass


@pytest.mark.parametrize("address", ["http://", "http://[::1", "http://127.0.0.1:99999/feed", "https://\x00/"])
def test_malformed_addresses_are_refused(address: str) -> None:
    with pytest.raises(SightlineError), opened_feed(address):
        pass


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("feed.csv", "id,image_link\na,A\nb,B\n"),
        ("feed.jsonl", '{"id": "a"}\n{"id": "b"}\n'),
        ("feed.json", '[{"id": "a"}, {"id": "b"}]'),
        ("feed.xml", "<rss><channel><item><id>a</id></item><item><id>b</id></item></channel></rss>"),
    ],
)
def test_a_feed_that_is_closed_before_its_last_row_ends_quietly(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with opened_feed(path, FeedOptions()) as feed:
        records = read_records(feed)
        assert next(records).values["id"] == "a"
    assert isinstance(records, Generator)
    records.close()
