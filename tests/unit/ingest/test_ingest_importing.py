"""Imports through a catalog's writer, the folders that they may read from, and downloads under guard."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import LivingCatalog
from sightline_server.index.stored_rows import stored_rows
from sightline_server.ingest.build import BuildOptions
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.exports.export import ExportOptions, export_catalog
from sightline_server.ingest.exports.formats import ExportFormat
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.importing import ImportProgress, import_embedded, import_feed, imported_feed
from sightline_server.ingest.transfer_folders import TransferFolders
from tests.support.catalogs import (
    LIMITS,
    SPEC,
    row,
    shade_embed,
    unit_vectors,
    write_catalog,
    write_feed,
    write_picture,
)
from tests.support.writers import LivingWriter

NETWORK = CheckedNetwork(HostCheck())


@pytest.fixture
def living(tmp_path: Path) -> Iterator[LivingCatalog]:
    """A catalog of one product, open for writing."""
    write_catalog(tmp_path / "shop", [row("old", unit_vectors(1))])
    with LivingCatalog(tmp_path / "shop") as catalog:
        yield catalog


@pytest.fixture
def folders(tmp_path: Path) -> TransferFolders:
    (tmp_path / "imports" / "daily").mkdir(parents=True)
    (tmp_path / "exports").mkdir()
    return TransferFolders(tmp_path / "imports", tmp_path / "exports")


class Seen:
    """Receives the progress of an import."""

    def __init__(self) -> None:
        self.total = self.read = self.written = 0
        self.problems: list[Problem] = []
        self.progress = ImportProgress(self._total, self._read, self._written, self.problems.append)

    def _total(self, count: int) -> None:
        self.total = count

    def _read(self, count: int) -> None:
        self.read = count

    def _written(self, count: int) -> None:
        self.written += count


def image_feed(folder: Path, count: int) -> Path:
    """A feed of products with an image each; that of every tenth product is missing."""
    for number in range(count):
        if number % 10 != 9:
            write_picture(folder / f"{number}.png", number % 250)
    rows = [{"id": f"p{number}", "title": f"t{number}", "image_link": f"{number}.png"} for number in range(count)]
    return write_feed(folder / "feed.csv", rows)


async def imported(
    name: str, folders: TransferFolders, living: LivingCatalog, writer: LivingWriter, seen: Seen, tmp_path: Path
) -> int:
    async with imported_feed(name, folders, FeedOptions(), NETWORK) as (feed, options):
        build = BuildOptions(feed, tmp_path / "shop", LIMITS, feed_options=options)
        return await import_feed(build, SPEC, shade_embed, writer, seen.progress)  # type: ignore[arg-type]


def ids(living: LivingCatalog) -> list[str]:
    found: list[str] = living.store.rows()["id"].to_pylist()
    return sorted(found)


async def test_import_embeds_and_writes_the_rows_of_a_feed(
    tmp_path: Path, folders: TransferFolders, living: LivingCatalog
) -> None:
    image_feed(tmp_path / "imports" / "daily", 50)
    seen, writer = Seen(), LivingWriter(living)
    assert await imported("daily/feed.csv", folders, living, writer, seen, tmp_path) == 45
    assert (seen.total, seen.read, seen.written, len(seen.problems)) == (50, 50, 45, 5)
    assert seen.problems[0].row == 11 and seen.problems[0].product_id == "p9"
    assert len(ids(living)) == 46


async def test_cancelled_import_keeps_and_counts_what_was_written(
    tmp_path: Path, folders: TransferFolders, living: LivingCatalog
) -> None:
    image_feed(tmp_path / "imports", 100)
    second, free = asyncio.Event(), asyncio.Event()

    async def before(group: int) -> None:
        if group == 1:
            second.set()
            await free.wait()

    seen, writer = Seen(), LivingWriter(living, before)
    task = asyncio.create_task(imported("feed.csv", folders, living, writer, seen, tmp_path))
    await second.wait()
    task.cancel()
    await asyncio.sleep(0)
    free.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    written = [product_id for group in writer.groups for product_id in group]
    assert len(writer.groups) == 2 and seen.written == len(written)
    assert ids(living) == sorted(["old", *written])


@pytest.mark.parametrize("name", ["feed.jsonl", "feed.parquet", "feed.parquet.gz"])
async def test_import_of_ready_embeddings_takes_no_engine(
    tmp_path: Path, folders: TransferFolders, living: LivingCatalog, name: str
) -> None:
    write_catalog(tmp_path / "other", [row(f"p{n}", unit_vectors(1 + n % 2, n), title=" t ") for n in range(150)])
    form = ExportFormat.PARQUET if "parquet" in name else ExportFormat.JSONL
    stored = stored_rows(tmp_path / "other")
    export_catalog(stored, ExportOptions(str(tmp_path / "imports" / name), form, embeddings=True))
    seen, writer = Seen(), LivingWriter(living)
    async with imported_feed(name, folders, FeedOptions(), NETWORK) as (feed, options):
        assert await import_embedded(feed, options, writer, seen.progress) == 150  # type: ignore[arg-type]
    assert (seen.read, seen.written, seen.problems) == (150, 150, [])
    assert seen.total == 150
    await writer.checkpoint()
    living.delete(["old"])
    assert living.checkpoint().digest == digest_of(tmp_path / "other")


def digest_of(path: Path) -> str:
    with LivingCatalog(path) as catalog:
        return catalog.store.revisions[0].digest


async def test_import_reports_rows_whose_embedding_does_not_fit(
    tmp_path: Path, folders: TransferFolders, living: LivingCatalog
) -> None:
    good = {"id": "a", "image_link": "a.jpg", "embedder": SPEC.identity, "embeddings": unit_vectors(1).tolist()}
    lines = [good, {**good, "id": "b", "embeddings": [[1.0]]}, {**good, "id": "c", "embedder": "other"}, "no object"]
    (tmp_path / "imports" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    seen = Seen()
    async with imported_feed("a.jsonl", folders, FeedOptions(), NETWORK) as (feed, options):
        written = await import_embedded(feed, options, LivingWriter(living), seen.progress)  # type: ignore[arg-type]
    assert written == 1
    assert [problem.row for problem in seen.problems] == [2, 3, 4]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (
            "cut.xml",
            b"<rss><channel><item><id>1</id><image_link>a.png</image_link></item><item><id>2",
            "not well-formed",
        ),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "damaged or cut off"),
        ("cut.parquet", b"PAR1" + b"\x00" * 40, "cannot be read"),
        ("cut.json", b'[{"id": "1", "image_link": "a.png"}, {"id": "2"', "not valid JSON"),
        ("book.xls", b"\xd0\xcf\x11\xe0" + b"\x00" * 60, "an Excel workbook"),
        ("empty.csv", b"", "is empty"),
        ("none.csv", b"a,b\n1,2\n", "no column id"),
    ],
)
async def test_feed_that_is_cut_off_or_of_another_format_writes_nothing(
    tmp_path: Path, folders: TransferFolders, living: LivingCatalog, name: str, content: bytes, text: str
) -> None:
    (tmp_path / "imports" / name).write_bytes(content)
    seen, writer = Seen(), LivingWriter(living)
    with pytest.raises(SightlineError, match=text):
        await imported(name, folders, living, writer, seen, tmp_path)
    assert (writer.groups, ids(living)) == ([], ["old"])


async def test_failing_engine_leaves_the_groups_before(
    tmp_path: Path, folders: TransferFolders, living: LivingCatalog
) -> None:
    image_feed(tmp_path / "imports", 100)
    calls = 0

    async def fails_later(crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine is gone")
        return await shade_embed(crops)

    seen, writer = Seen(), LivingWriter(living)
    async with imported_feed("feed.csv", folders, FeedOptions(), NETWORK) as (feed, options):
        build = BuildOptions(feed, tmp_path / "shop", LIMITS, feed_options=options)
        with pytest.raises(SightlineError, match="the engine is gone"):
            await import_feed(build, SPEC, fails_later, writer, seen.progress)  # type: ignore[arg-type]
    assert len(writer.groups) == 1 and seen.written == len(writer.groups[0])


OUTSIDE = (
    *("../secret.csv", "/etc/passwd", "daily/../../secret.csv", "link.csv", "linked/secret.csv", "none.csv", "daily"),
    *("", ".", "..", "daily/", ".hidden.csv", "a\x00b", "a\nb", "x" * 2000, "file:///etc/passwd", "..\\secret.csv"),
)


@pytest.mark.parametrize("name", OUTSIDE)
async def test_import_reads_no_file_outside_of_its_folder(tmp_path: Path, folders: TransferFolders, name: str) -> None:
    image_feed(tmp_path / "elsewhere", 1)
    (tmp_path / "elsewhere" / "feed.csv").rename(tmp_path / "secret.csv")
    (tmp_path / "imports" / "link.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "imports" / "linked").symlink_to(tmp_path)
    (tmp_path / "imports" / ".hidden.csv").write_text("id,image_link\n1,a.jpg\n")
    with pytest.raises(SightlineError) as raised:
        async with imported_feed(name, folders, FeedOptions(), NETWORK):
            pass
    assert raised.value.kind is ErrorKind.INVALID_REQUEST
    assert raised.value.field == "uri"


@pytest.mark.parametrize(
    "name", ["../a.csv", "/tmp/a.csv", "linked/a.csv", "none/a.csv", ".a.csv", "", "out.csv/b.csv"]
)
def test_export_writes_no_file_outside_of_its_folder(tmp_path: Path, folders: TransferFolders, name: str) -> None:
    (tmp_path / "exports" / "linked").symlink_to(tmp_path)
    with pytest.raises(SightlineError) as raised:
        folders.export_file(name)
    assert raised.value.kind is ErrorKind.INVALID_REQUEST


def test_places_of_the_operator_are_used(tmp_path: Path, folders: TransferFolders) -> None:
    (tmp_path / "imports" / "daily" / "a.csv").write_text("id")
    assert folders.feed_file("daily/a.csv") == tmp_path / "imports" / "daily" / "a.csv"
    assert folders.export_file("a.csv") == tmp_path / "exports" / "a.csv"


async def test_server_without_folders_reads_and_writes_no_file() -> None:
    none = TransferFolders(web=False)
    with pytest.raises(SightlineError, match=r"transfer\.export_folder"):
        none.export_file("a.csv")
    with pytest.raises(SightlineError, match=r"transfer\.import_folder"):
        none.feed_file("a.csv")
    with pytest.raises(SightlineError, match="no feeds from web addresses"):
        async with imported_feed("https://shop.example/a.csv", none, FeedOptions(), NETWORK):
            pass


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "http://127.0.0.1:1/a.csv",
            "http://localhost/a.csv",
            "http://10.0.0.1/",
            "http://[::1]/",
            "http://2130706433/",
        ),
        *("http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "https://0x7f.1/a.csv"),
        *("http://name:pa55@127.0.0.1/a.csv", "http://", "http://[", "HTTP://127.0.0.1/"),
    ],
)
async def test_import_asks_public_addresses_only(folders: TransferFolders, uri: str) -> None:
    with pytest.raises(SightlineError, match="cannot be downloaded") as raised:
        async with imported_feed(uri, folders, FeedOptions(), NETWORK):
            pass
    assert raised.value.kind is ErrorKind.INVALID_REQUEST
    assert "pa55" not in raised.value.message and "127.0.0.1" not in raised.value.message


async def answer_feed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One answer of a web server: a redirect, a feed, one that is cut off, or an error."""
    path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
    body = b"id,image_link\n1,a.jpg\n"
    heads = {
        b"/moved": b"302 Found\r\nlocation: /a.csv\r\ncontent-length: 0",
        b"/a.csv": b"200 OK\r\ncontent-length: %d" % len(body),
        b"/cut": b"200 OK\r\ncontent-length: 9999",
        b"/circle": b"302 Found\r\nlocation: /circle\r\ncontent-length: 0",
        b"/file": b"302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0",
    }
    head = heads.get(path, b"404 Not Found\r\ncontent-length: 0")
    writer.write(b"HTTP/1.1 " + head + b"\r\nconnection: close\r\n\r\n" + (body if b"200" in head else b""))
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        *(("a.csv", ""), ("moved", ""), ("cut", "before the whole feed"), ("circle", "more than 5 redirects")),
        *(("file", "no answer"), ("none", "the server answered 404")),
    ],
)
async def test_download_of_a_feed(folders: TransferFolders, path: str, text: str) -> None:
    server = await asyncio.start_server(answer_feed, "127.0.0.1", 0)
    network = CheckedNetwork(HostCheck(allow_private=True))
    async with server:
        uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{path}"
        if text:
            with pytest.raises(SightlineError, match=text):
                async with imported_feed(uri, folders, FeedOptions(), network):
                    pass
            return
        async with imported_feed(uri, folders, FeedOptions(), network) as (feed, options):
            assert feed.file.read() == b"id,image_link\n1,a.jpg\n"
            assert options.base_url == uri and feed.parent is None
