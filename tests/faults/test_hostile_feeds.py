"""Hostile feeds and image hosts: a problem each, bounded memory, and no request to an address that is not public.

The builds run in another process whose memory is measured; only the embedder is a fake. Servers listen on loopback.
"""

import gzip
import http.server
import io
import json
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.engine import CHECKOUT

pytestmark = pytest.mark.timeout(300)

MAX_PEAK_MB = 500
"""Half of what is allowed. A process that has only imported the builder has about 130 MB."""
BOMB_MB = 400
HEAD = "id,title,image_link\n"


@cache
def nested_gzip(levels: int) -> bytes:
    """`BOMB_MB` of zeros, compressed several times: some kilobytes."""
    if levels > 1:
        return gzip.compress(nested_gzip(levels - 1), 9)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(BOMB_MB)]) + packer.flush()


def picture() -> bytes:
    """A small JPEG."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


@dataclass
class Host:
    """A web server on loopback that is hostile where the path says so, and what it was asked."""

    port: int = 0
    connections: int = 0
    asked: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def hosting() -> Iterator[Host]:
    """A `Host` for the length of the block."""
    host = Host()
    bodies = {"/ok": picture(), "/gzip1": nested_gzip(1), "/gzip2": nested_gzip(2)}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def setup(self) -> None:
            host.connections += 1
            super().setup()

        def reply(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def endless(self, part: bytes, pause_s: float, **headers: str) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            while not host.ended.wait(pause_s):
                self.wfile.write(part)

        def do_GET(self) -> None:
            host.asked.append(self.path)
            kind = self.path.partition("?")[0].rstrip("0123456789") if self.path not in bodies else self.path
            try:
                match kind:
                    case "/gzip1" | "/gzip2":
                        coding = "gzip" if kind == "/gzip1" else "gzip, gzip"
                        self.reply(200, bodies[kind], Content_Encoding=coding)
                    case "/large":
                        self.endless(bytes(1 << 16), 0.0, Content_Length=str(10**12))
                    case "/drip":
                        self.endless(b"1\r\nA\r\n", 0.2, Transfer_Encoding="chunked")
                    case "/headers":
                        self.reply(200, b"", **{f"X_{number}": "a" * 60_000 for number in range(90)})
                    case "/redirect":
                        self.reply(302, b"", Location=self.path.partition("?")[2])
                    case "/loop":
                        self.reply(302, b"", Location="/loop")
                    case "/ok":
                        self.reply(200, bodies["/ok"])
                    case _:
                        self.reply(404, b"")
            except OSError:
                self.close_connection = True

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that go away are what this is about."""

    server = Server(("127.0.0.1", 0), Handler)
    host.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass(frozen=True)
class Outcome:
    """The report of a build."""

    feed: str
    peak_mb: int
    ids: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    refusal: str = ""
    crash: str = ""
    seconds: float = 0.0


def built(folder: Path, *feeds: Path, allow_private: bool = False) -> list[Outcome]:
    """The outcome of each feed; the first one is that of a process that has built nothing."""
    command = [sys.executable, "-m", "tests.support.hostile_builds", str(folder / "out")]
    command += [*map(str, feeds), *(["--allow-private-images"] if allow_private else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(feeds) + 1, done.stderr
    return [outcome_of(each) for each in found]


def outcome_of(line: dict[str, Any]) -> Outcome:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in line.items()}
    return Outcome(**fields)


def csv_feed(path: Path, *rows: str) -> Path:
    path.write_text(HEAD + "good,Good,good.jpg\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def json_feed(path: Path, *lines: str) -> Path:
    good = json.dumps({"id": "good", "title": "Good", "image_link": "good.jpg"})
    path.write_text("\n".join((good, *lines)), encoding="utf-8")
    return path


def parquet_feed(path: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.jpg").write_bytes(picture())
    (tmp_path / "out").mkdir()
    return tmp_path


def hostile_rows(folder: Path) -> dict[Path, int]:
    """Feeds of one good product and others that cannot be used, with the number of those."""
    link = '"image_link":"good.jpg"'
    columns = ",".join(f'"c{number}":"v"' for number in range(70_000))
    images = ",".join(f'"image[{number}].url":"x"' for number in range(1, 40_000))
    json_rows = {
        "deep": "[" * 100_000,
        "deep-object": '{"a":' * 100_000,
        "deep-value": f'{{"id":"x",{link},"a":{"[" * 50_000}1{"]" * 50_000}}}',
        "surrogate-id": f'{{"id":"a\\ud800","title":"x",{link}}}',
        "surrogate-title": f'{{"id":"a","title":"\\udfff",{link}}}',
        "surrogate-link": '{"id":"a","title":"x","image_link":"http://127.0.0.1:1/\\ud800"}',
        "many-digits": f'{{"id":{"9" * 6000},{link}}}',
        "infinite-id": f'{{"id":1e999,{link}}}',
        "infinite-price": f'{{"id":"a","price":-1e999,{link}}}',
        "infinity": f'{{"id":Infinity,{link}}}',
        "nan-id": f'{{"id":NaN,{link}}}',
        "object-id": '{"id":{"a":[{}]},"image_link":[[[{"url":"none"}]]]}',
        "long-title": f'{{"id":"fat","title":"{"T" * 50_000_000}",{link}}}',
        "long-names": f'{{"{"N" * 100_000}":"v","id":"fat",{link}}}',
        "many-columns": f'{{{columns},"id":"wide",{link}}}',
        "many-images": f'{{"id":"wide",{link},{images}}}',
    }
    feeds = {json_feed(folder / f"{name}.jsonl", row): 1 for name, row in json_rows.items()}
    feeds[csv_feed(folder / "long-field.csv", f"fat,{'T' * 2_000_000},good.jpg")] = 1
    feeds[csv_feed(folder / "long-quoted.csv", f'fat,"{"T" * 2_000_000}",good.jpg')] = 1
    feeds[csv_feed(folder / "open-quote.csv", f'fat,"{"T" * 100_000}', *["x" * 1000] * 2000)] = 2001
    feeds[csv_feed(folder / "commas.csv", "," * 1_000_000)] = 0
    latin = folder / "latin1.csv"
    latin.write_bytes(f"{HEAD}good,Good,good.jpg\n".encode() + b"l\xe9,t,good.jpg\n")
    feeds[latin] = 1
    fat = "".join(f"<a{n}>x</a{n}>" for n in range(60_000))
    (folder / "wide.xml").write_text(
        f"<rss><item><id>good</id><image_link>good.jpg</image_link></item><item><id>w</id>{fat}"
        f"<image_link>good.jpg</image_link></item><item><id>t</id><title>{'T' * 5_000_000}</title></item></rss>"
    )
    feeds[folder / "wide.xml"] = 2
    infinite = pa.array([1.0, float("inf")])
    feeds[parquet_feed(folder / "infinite.parquet", id=infinite, image_link=pa.array(["good.jpg"] * 2))] = 1
    return feeds


def refused_feeds(folder: Path) -> list[Path]:
    """Feeds that are refused as a whole, with one message."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), pa.array(["T" * 8_000_000]))
    links, ids = pa.array(["good.jpg"] * 1024), pa.array([str(number) for number in range(1024)])
    (folder / "zeros.csv.gz").write_bytes(nested_gzip(1))
    (folder / "twice.csv.gz").write_bytes(nested_gzip(2))
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    (folder / "laughs.xml").write_text(f'<!DOCTYPE rss [<!ENTITY a0 "ha">{entities}]><rss><item>&a9;</item></rss>')
    (folder / "deep.xml").write_text("<rss>" + "<a>" * 100_000)
    (folder / "tag.xml").write_text(f"<rss><item {'a' * 20_000_000}")
    (folder / "deep.json").write_text('[{"id":' + "[" * 1_000_000)
    parquet = [parquet_feed(folder / "bomb.parquet", id=ids, title=texts, image_link=links)]
    ids_only = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), pa.array(["i" * 8_000_000]))
    parquet.append(parquet_feed(folder / "id-bomb.parquet", id=ids_only, image_link=links))
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), pa.array(["T" * 8_000_000]))
    ends = pa.array(range(1025), pa.int32())
    nested = {
        "list": pa.ListArray.from_arrays(ends, one),
        "struct": pa.StructArray.from_arrays([one], ["a"]),
        "structs": pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays([one], ["a"])),
        "map": pa.MapArray.from_arrays(ends, ids, one),
        "fixed": pa.array([bytes(8_000_000)], pa.binary(8_000_000)).take(pa.array([0] * 8)),
        "flags": pa.ListArray.from_arrays(
            pa.array([0] * 1024 + [40_000_000], pa.int32()), pa.array(np.ones(40_000_000, bool))
        ),
    }
    for name, column in nested.items():
        known = {"id": ids[: len(column)], "image_link": links[: len(column)], "x": column}
        parquet.append(parquet_feed(folder / f"{name}.parquet", **known))
    return [*parquet, *sorted(folder.glob("*.gz")), folder / "laughs.xml",
            folder / "deep.xml", folder / "tag.xml", folder / "deep.json"]  # fmt: skip


def test_hostile_rows_fail_only_themselves(folder: Path) -> None:
    feeds = hostile_rows(folder)
    start, *outcomes = built(folder, *feeds)
    for outcome, problems in zip(outcomes, feeds.values(), strict=True):
        assert (outcome.crash, outcome.refusal) == ("", ""), outcome
        assert len(outcome.problems) == problems, outcome
        assert outcome.ids[:1] == ("good",) if outcome.feed != "infinite.parquet" else ("1",), outcome
        assert all(len(problem) < 1000 for problem in outcome.problems), outcome
        assert outcome.seconds < 60, outcome
    assert outcomes[-1].peak_mb < MAX_PEAK_MB, [start, *outcomes]


def test_hostile_files_are_refused_with_one_message(folder: Path) -> None:
    start, *outcomes = built(folder, *refused_feeds(folder))
    for outcome in outcomes:
        assert outcome.crash == "", outcome
        assert outcome.refusal or outcome.problems, outcome
        assert len(outcome.refusal) < 1000, outcome
    assert outcomes[-1].peak_mb < MAX_PEAK_MB, [start, *outcomes]


def test_hostile_image_hosts_cost_their_images_only(folder: Path) -> None:
    with hosting() as host:
        paths = ["/gzip1", "/gzip2", "/large", "/headers", "/loop", "/none", *(f"/drip{n}" for n in range(3))]
        feed = csv_feed(folder / "hosts.csv", *(f"h{n},t,{host.url}{path}" for n, path in enumerate(paths)))
        more = csv_feed(folder / "more.csv", *(f"m{n},t,{host.url}/gzip1?{n}" for n in range(8)), f"ok,t,{host.url}/ok")
        start, *outcomes = built(folder, feed, more, allow_private=True)
    assert [outcome.ids for outcome in outcomes] == [("good",), ("good", "ok")]
    assert [len(outcome.problems) for outcome in outcomes] == [len(paths), 8]
    assert outcomes[-1].peak_mb < MAX_PEAK_MB, [start, *outcomes]


def test_no_request_reaches_an_address_that_is_not_public(folder: Path) -> None:
    """The links of the attack and their siblings. Every one of them leads to the listener if it is followed."""
    with hosting() as host:
        port = host.port
        hosts = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001"]
        hosts += [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "0.0.0.0",
            "0",
            "127.0.0.1.",
            "127.255.255.254",
        ]
        hosts += ["[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::127.0.0.1]", "[::127.0.0.1]"]
        hosts += ["[2002:7f00:1::]", "169.254.169.254", "metadata.google.internal", "10.0.0.1", "[fe80::1%25lo]"]
        hosts += [
            "user:secret@127.0.0.1",
            "127.0.0.1:80@127.0.0.1",
            "\uff11\uff12\uff17.0.0.1",
            "127\u30020\u30020\u30021",
            "%31%32%37.0.0.1",
        ]
        links = [f"http://{name}:{port}/ok?secret" for name in hosts]
        links += [f"//127.0.0.1:{port}/ok", f"https:\\\\127.0.0.1:{port}\\ok", f"http:/127.0.0.1:{port}/ok"]
        links += [f"file://{folder}/good.jpg", "/etc/passwd", "../good.jpg", "gopher://127.0.0.1:1/"]
        feed = csv_feed(folder / "ssrf.csv", *(f's{n},t,"{link}"' for n, link in enumerate(links)))
        _, outcome = built(folder, feed)
    assert (host.connections, host.asked) == (0, [])
    assert outcome.ids == ("good",)
    assert len(outcome.problems) == len(links)
    assert not any("secret" in problem for problem in outcome.problems)
