"""F11 to F15, F19: hostile feeds and image hosts through `sightline catalog build`.

Each build is a separate process that embeds with the engine of the running server. A feed has one good product, which
must be built, and rows that must be problems. What is wrong with more inputs is tested in `tests/faults` and
`tests/unit`; this is the command as a shop runs it.
"""

import asyncio
import gzip
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from load_tests.attacks.engine import Engine
from load_tests.attacks.frame import Attack, Bound, Target

PEAK_MB, BUILD_S = 1000, 60.0
BUILD_AT_MOST_S = 300.0
SAMPLE_S = 0.02
BOMB_MB = 1200
"""Memory that the gzip bomb would take: more than a build may."""
HEAD = "id,title,image_link\n"
GOOD = HEAD + "good,Good,good.jpg\n"
BUILT = re.compile(r"(\d+) products?, \d+ images?, (\d+) rows? skipped")


@dataclass(frozen=True, slots=True)
class Feed:
    """A hostile feed: how many of its rows must be problems, or that it must be refused as a whole.

    `make` writes it to a path and gets the address of a web server on loopback.
    """

    name: str
    make: Callable[[Path, str], object]
    problems: int = 0
    refused: bool = False
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a build."""

    feed: Feed
    code: int
    output: str
    seconds: float
    peak_mb: float

    @property
    def right(self) -> bool:
        """True if the good product was built and each other row reported, or the feed refused with a message."""
        if "Traceback" in self.output or "internal error" in self.output:
            return False
        if self.feed.refused:
            return self.code == 1 and "sightline: " in self.output
        return self.code == 0 and BUILT.findall(self.output) == [("1", str(self.feed.problems))]


def rows_of_json() -> list[str]:
    """Rows of JSON that cost a build seconds, memory or all of it."""
    link = '"image_link":"good.jpg"'
    return [
        "[" * 100_000,
        '{"a":' * 100_000,
        f'{{"id":"a\\ud800",{link}}}',
        '{"id":"a","image_link":"http://127.0.0.1:1/\\ud800"}',
        f'{{"id":{"9" * 6000},{link}}}',
        f'{{"id":1e999,{link}}}',
        f'{{"id":NaN,{link}}}',
        f'{{"id":"fat","title":"{"T" * 50_000_000}",{link}}}',
    ]


def private_links(host: str) -> list[str]:
    """Links that lead to the web server on loopback, or to the metadata of a cloud."""
    port = host.rpartition(":")[2]
    names = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "0.0.0.0", "[::1]"]
    names += ["[::ffff:127.0.0.1]", "user:secret@127.0.0.1"]
    return [*(f"http://{name}:{port}/ok" for name in names), "http://169.254.169.254/latest/meta-data/"]


def json_feed(path: Path, host: str) -> None:
    """One good row and hostile ones."""
    good = json.dumps({"id": "good", "title": "Good", "image_link": "good.jpg"})
    path.write_text("\n".join([good, *rows_of_json()]))


def csv_feed(path: Path, host: str) -> None:
    """A field above the limit of Python's reader, quoted and not."""
    path.write_text(f'{GOOD}fat,{"T" * 2_000_000},good.jpg\nfat2,"{"T" * 2_000_000}",good.jpg\n')


def parquet_bomb(path: Path, host: str) -> None:
    """Some kilobytes in which 1,024 rows share a title of 8 MB."""
    titles = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), pa.array(["T" * 8_000_000]))
    ids, links = (pa.array([str(number) for number in range(1024)]), pa.array(["good.jpg"] * 1024))
    pq.write_table(pa.table({"id": ids, "image_link": links, "title": titles}), path, compression="zstd")


def image_hosts(path: Path, host: str) -> None:
    """Images that are compressed zeros, once and twice."""
    path.write_text(f"{GOOD}a,a,{host}/gzip\nb,b,{host}/gzip2\n")


def private_hosts(path: Path, host: str) -> None:
    """Links to addresses that are not public."""
    path.write_text(GOOD + "".join(f'p{n},t,"{link}"\n' for n, link in enumerate(private_links(host))))


FEEDS = (
    Feed("rows.jsonl", json_feed, problems=len(rows_of_json())),
    Feed("fields.csv", csv_feed, problems=2),
    Feed("hosts.csv", image_hosts, problems=2, options=("--allow-private-images",)),
    Feed("bomb.parquet", parquet_bomb, refused=True),
)
PRIVATE = Feed("private.csv", private_hosts, problems=len(private_links("")))


async def run(target: Target, share: float) -> list[Bound]:
    """Builds a catalog of each feed, or of some for a smaller share, with the server's engine."""
    feeds = FEEDS[:: max(1, round(1 / share))]
    address = Engine.of(target.pid).address
    with tempfile.TemporaryDirectory(prefix="sightline-attack-") as folder, web() as host:
        good_image().save(Path(folder) / "good.jpg")
        outcomes = [await asyncio.to_thread(build, feed, Path(folder), host.url, address) for feed in feeds]
        before = host.connections
        outcomes.append(await asyncio.to_thread(build, PRIVATE, Path(folder), host.url, address))
        reached = host.connections - before
    wrong = [each for each in outcomes if not each.right]
    for each in wrong:
        print(f"  {each.feed.name}: exit code {each.code}: {each.output[-2000:]}", file=sys.stderr)
    return [
        Bound(f"feeds of {len(outcomes)} that went wrong{names(wrong)}", len(wrong), 0),
        Bound("MB at the peak of a build", max(each.peak_mb for each in outcomes), PEAK_MB),
        Bound("s of the slowest build", max(each.seconds for each in outcomes), BUILD_S),
        Bound("connections to addresses that are not public", reached, 0),
    ]


def names(outcomes: Sequence[Outcome]) -> str:
    """Their feeds in brackets; nothing for none."""
    return f" ({', '.join(each.feed.name for each in outcomes)})" if outcomes else ""


def good_image() -> Image.Image:
    """A small image that a catalog can have."""
    return Image.new("RGB", (64, 64), (200, 30, 30))


def build(feed: Feed, folder: Path, host: str, engine: str) -> Outcome:
    """Runs the command on `feed` and measures it; it is killed after `BUILD_AT_MOST_S`."""
    path, started = folder / feed.name, time.monotonic()
    feed.make(path, host)
    command = [str(Path(sys.executable).with_name("sightline")), "catalog", "build", str(path)]
    command += [
        "--out",
        str(folder / f"{feed.name}.catalog"),
        "--triton-url",
        engine,
        "--max-lost",
        "100",
        *feed.options,
    ]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=without_proxies())
        peaks: dict[int, float] = {}
        try:
            while process.poll() is None and time.monotonic() - started < BUILD_AT_MOST_S:
                note_peaks(process.pid, peaks)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SAMPLE_S)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
    return Outcome(feed, process.returncode, said, time.monotonic() - started, sum(peaks.values()))


def note_peaks(pid: int, peaks: dict[int, float]) -> None:
    """Notes the most memory in MB that process `pid` and those below it have had so far."""
    with suppress(psutil.NoSuchProcess, OSError):
        for number in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))):
            status = Path(f"/proc/{number}/status").read_text()
            if "VmHWM:" in status:
                peaks[number] = int(status.partition("VmHWM:")[2].split()[0]) / 1000


def without_proxies() -> dict[str, str]:
    """The environment without proxies, which would be asked for public addresses only."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@dataclass(slots=True)
class Host:
    """A web server on loopback, and how often it was connected to."""

    url: str = ""
    connections: int = 0


@contextmanager
def web() -> Iterator[Host]:
    """A web server with an image and two bombs for the length of the block."""
    host, bomb = Host(), zeros()
    answers = {"/ok": (jpeg(), ""), "/gzip": (bomb, "gzip"), "/gzip2": (gzip.compress(bomb, 9), "gzip, gzip")}

    class Handler(http.server.BaseHTTPRequestHandler):
        def setup(self) -> None:
            host.connections += 1
            super().setup()

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            body, coding = answers.get(self.path, (b"", ""))
            self.send_response(200 if body else 404)
            if coding:
                self.send_header("Content-Encoding", coding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


def jpeg() -> bytes:
    """The good image as a file."""
    file = io.BytesIO()
    good_image().save(file, "JPEG")
    return file.getvalue()


def zeros() -> bytes:
    """`BOMB_MB` of zeros, compressed once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(BOMB_MB)]) + packer.flush()


ATTACK = Attack("ingest", "F11-F15, F19: hostile feeds and image hosts", run)
