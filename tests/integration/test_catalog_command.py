"""`sightline catalog` with the real Triton: from a feed on disk to a catalog that is served."""

import asyncio
import http.server
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from sightline_server.cli.catalog import app
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Neighbour
from sightline_server.domain.models import EMBEDDER, EmbedderSpec
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.ingest.build import BuildOptions, build_catalog
from sightline_server.ingest.embedding import engine_embed
from sightline_server.ingest.images import ImageLimits
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import decode
from sightline_server.triton.engine import TritonEngine
from tests.support.catalogs import BUILT, LIMITS, write_feed, write_picture
from tests.support.engine import TritonSession
from tests.support.tiny_models import EMBEDDER_SIZE, expected_embeddings

PRODUCTS = 50


class CountingWeb:
    """A context: a server of one image, which notes what it is asked and may stop answering after some requests."""

    def __init__(self, image: bytes, stall_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.stall_after = stall_after
        self.stalled = threading.Event()
        self._released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if outer.stall_after is not None and len(outer.asked) > outer.stall_after:
                    outer.stalled.set()
                    outer._released.wait(60)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(image)))
                self.end_headers()
                self.wfile.write(image)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "CountingWeb":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """Fifty products with an image each, two bad rows, and a product with one image of two."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(PRODUCTS):
        write_picture(tmp_path / "pictures" / f"{number}.png", int(rng.integers(0, 256)))
        rows.append({"id": f"p{number}", "image_link": f"pictures/{number}.png", "additional_image_link": ""})
    rows[7]["additional_image_link"] = "pictures/none.png"
    rows += [{"id": "", "image_link": "pictures/0.png"}, {"id": "p0", "image_link": "pictures/0.png"}]
    return write_feed(tmp_path / "feed.csv", rows)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def build(feed: Path, triton: TritonSession, *arguments: object) -> Result:
    return command("build", feed, "--out", feed.parent / "shop", "--triton-url", triton.url, *arguments)


def test_a_feed_becomes_a_catalog_and_the_summary_counts(feed: Path, tiny_triton: TritonSession) -> None:
    result = build(feed, tiny_triton)
    assert result.exit_code == 0, result.output
    out = feed.parent / "shop"
    assert f"{out}: 50 products, 50 images, 2 rows skipped" in result.stdout
    assert "1 skipped: duplicate id" in result.stdout
    assert "1 kept with a warning: unreadable image" in result.stdout
    assert "row 9 (p7): pictures/none.png: there is no such file" in result.stderr
    assert "row 52: there is no id" in result.stderr
    assert "52 of 52 rows" in result.stderr

    catalog = open_catalog(out)
    spec = EmbedderSpec("tiny", "1", EMBEDDER_SIZE, EMBEDDER_SIZE, catalog.facts.embedder.dimension)
    photos = [(feed.parent / link).read_bytes() for link in catalog.image_links.to_pylist()]
    expected = expected_embeddings(
        np.stack([crop(decode(photo, LIMITS), Box.whole(), spec).pixels for photo in photos])
    )
    assert np.abs(catalog.vectors.astype(np.float32) - expected).max() < 1e-3

    told = command("info", out)
    assert told.exit_code == 0
    assert catalog.revision in told.stdout
    assert "products    50" in told.stdout


async def test_a_built_catalog_is_served_by_the_engine_that_made_it(tmp_path: Path, tiny_engine: TritonEngine) -> None:
    rng = np.random.default_rng(3)
    photos = rng.integers(0, 256, (70, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)
    embeddings = await engine_embed(tiny_engine)(list(photos))
    assert np.abs(embeddings - expected_embeddings(photos)).max() < 1e-5

    write_picture(tmp_path / "a.png", 3)
    feed = write_feed(tmp_path / "feed.csv", [{"id": "a", "image_link": "a.png", "title": "A"}])
    options = BuildOptions(feed=feed, out=tmp_path / "shop", decode=LIMITS)
    await build_catalog(options, tiny_engine.spec(EMBEDDER), engine_embed(tiny_engine), BUILT)
    device = DeviceThread()
    snapshot = await open_snapshot(tmp_path / "shop", "shop", tiny_engine.spec(EMBEDDER), device)
    [[found]] = await snapshot.nearest(embeddings[:1], 5)
    [product] = snapshot.products([found.row])
    assert (found.product_id, product.id, product.title) == ("a", "a", "A")
    await snapshot.close()
    device.close()


def test_two_views_are_what_the_engine_makes_of_the_image_and_of_its_inside(
    tmp_path: Path, tiny_triton: TritonSession
) -> None:
    pixels = np.full((60, 60, 3), 255, np.uint8)
    pixels[10:40, 20:50] = np.random.default_rng(1).integers(0, 128, (30, 30, 3), np.uint8)
    write_picture(tmp_path / "pictures" / "plain.png", 90)
    Image.fromarray(pixels).save(tmp_path / "pictures" / "framed.png")
    rows = [{"id": name, "image_link": f"pictures/{name}.png"} for name in ("framed", "plain")]
    result = build(write_feed(tmp_path / "feed.csv", rows), tiny_triton, "--views", 2)
    assert result.exit_code == 0, result.output
    assert "2 products, 2 images, 0 rows skipped" in result.stdout
    assert "3 vectors: images with a plain margin have two views" in result.stdout
    catalog = open_catalog(tmp_path / "shop")
    assert catalog.image_links.to_pylist() == ["pictures/framed.png"] * 2 + ["pictures/plain.png"]
    spec = EmbedderSpec("tiny", "1", EMBEDDER_SIZE, EMBEDDER_SIZE, catalog.facts.embedder.dimension)
    crops = [crop(Frame(part), Box.whole(), spec).pixels for part in (pixels, pixels[9:41, 19:51])]
    expected = expected_embeddings(np.stack(crops))
    assert np.abs(catalog.vectors[:2].astype(np.float32) - expected).max() < 1e-3
    for found in asyncio.run(searched(tmp_path / "shop", catalog.facts.embedder, expected.astype(np.float32))):
        assert [each.product_id for each in found] == ["framed", "plain"]
        assert found[0].similarity > 0.999


async def searched(shop: Path, spec: EmbedderSpec, vectors: NDArray[np.float32]) -> list[list[Neighbour]]:
    device = DeviceThread()
    snapshot = await open_snapshot(shop, "shop", spec, device)
    found = await snapshot.nearest(vectors, 5)
    await snapshot.close()
    device.close()
    return found


def test_strict_stops_with_the_row_and_leaves_nothing(feed: Path, tiny_triton: TritonSession) -> None:
    result = build(feed, tiny_triton, "--strict")
    assert result.exit_code == 1
    assert "sightline: feed.csv, row 9 (p7)" in result.stderr
    assert result.stdout == ""
    assert not list(feed.parent.glob("*shop*"))


def test_an_existing_folder_needs_replace(feed: Path, tiny_triton: TritonSession) -> None:
    assert build(feed, tiny_triton).exit_code == 0
    refused = build(feed, tiny_triton)
    assert refused.exit_code == 2
    assert "--replace" in refused.stderr
    assert build(feed, tiny_triton, "--replace").exit_code == 0


def test_a_replacement_that_lost_much_exits_with_1_and_says_how_to_override(
    feed: Path, tiny_triton: TritonSession
) -> None:
    assert build(feed, tiny_triton).exit_code == 0
    for number in range(10):
        (feed.parent / "pictures" / f"{number}.png").unlink()
    refused = build(feed, tiny_triton, "--replace")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "was not replaced, the old catalog stays" in refused.stderr
    assert "11 of 51 rows were lost (21.6 %), --max-lost allows 10 %" in refused.stderr
    assert "add --max-lost 100" in refused.stderr
    assert "products    50" in command("info", feed.parent / "shop").stdout
    replaced = build(feed, tiny_triton, "--replace", "--max-lost", "25%")
    assert replaced.exit_code == 0, replaced.output
    assert "WARNING: 11 of 51 rows were lost" in replaced.stdout


def test_a_killed_build_does_not_ask_again_for_what_it_has(tmp_path: Path, tiny_triton: TritonSession) -> None:
    write_picture(tmp_path / "a.png", 3)
    web = CountingWeb((tmp_path / "a.png").read_bytes(), stall_after=40)
    with web:
        rows = [{"id": f"p{n}", "image_link": f"{web.url}/{n}.png?Signature=secret"} for n in range(60)]
        feed = write_feed(tmp_path / "feed.csv", rows)
        arguments: list[str | Path] = ["build", feed, "--out", tmp_path / "shop"]
        arguments += ["--triton-url", tiny_triton.url]
        arguments += ["--cache", tmp_path / "cache", "--allow-private-images"]
        process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments])
        assert web.stalled.wait(60)
        process.kill()
        process.wait(30)
        web.stall_after = None
        kept = len(list((tmp_path / "cache").rglob("??/*")))
        first = list(web.asked)
        result = command(*arguments)
    assert result.exit_code == 0, result.output
    assert "60 products" in result.stdout
    again = len(web.asked) - len(first)
    assert kept >= 32
    # The killed build may have asked for some more that the server had not read yet.
    assert again <= 60 - kept + ImageLimits().parallel
    assert "secret" not in result.output + str(list((tmp_path / "cache").rglob("*")))


def test_images_on_loopback_need_the_option(tmp_path: Path, tiny_triton: TritonSession) -> None:
    write_picture(tmp_path / "a.png", 3)
    with CountingWeb((tmp_path / "a.png").read_bytes()) as web:
        port = web.url.rpartition(":")[2]
        hosts = (
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f.1",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "user:secret@127.0.0.1",
        )
        rows = [{"id": f"p{n}", "image_link": f"http://{host}:{port}/{n}.png"} for n, host in enumerate(hosts)]
        feed = write_feed(tmp_path / "feed.csv", [{"id": "good", "image_link": "a.png"}, *rows])
        refused = build(feed, tiny_triton)
        assert web.asked == []
        allowed = build(feed, tiny_triton, "--replace", "--max-lost", "50", "--allow-private-images")
    assert refused.exit_code == 0, refused.output
    assert "1 product, 1 image, 7 rows skipped" in refused.stdout
    assert (
        refused.stderr.count(
            "no answer from the image host (only public addresses are asked; see --allow-private-images)"
        )
        == 6
    )
    assert "secret" not in refused.output + allowed.output
    assert "6 products, 6 images, 2 rows skipped" in allowed.stdout
    assert sorted(web.asked) == ["/0.png", "/1.png", "/2.png", "/3.png", "/4.png"]


@pytest.mark.parametrize("arguments", [(), ("none.csv",), ("none.csv", "--out", "x", "--colour")])
def test_wrong_usage_exits_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("build", *arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_feed_that_is_not_there_is_named_before_any_engine_starts(tmp_path: Path) -> None:
    result = command("build", tmp_path / "none.csv", "--out", tmp_path / "shop", "--triton-url", "127.0.0.1:1")
    assert (result.exit_code, result.stderr) == (2, f"sightline: no such feed: {tmp_path / 'none.csv'}\n")


def test_info_on_an_empty_folder_exits_2(tmp_path: Path) -> None:
    result = command("info", tmp_path)
    assert result.exit_code == 2
    assert "there is no catalog" in result.stderr


# Tests that run in the background of a shell inherit from it that Ctrl-C is ignored.
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from sightline_server.cli.catalog import app; app()"
)


@pytest.fixture
def silent_web() -> Iterator[tuple[str, socket.socket]]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a.jpg", server


def building(folder: Path, triton: TritonSession, link: str, *before: str) -> "subprocess.Popen[str]":
    """A build of one product whose image never comes."""
    feed = write_feed(folder / "feed.csv", [{"id": "a", "image_link": link}])
    command: list[str | Path] = [sys.executable, "-c", COMMAND, "build", feed, "--out", folder / "shop"]
    command += ["--triton-url", triton.url, "--allow-private-images"]
    return subprocess.Popen([*before, *command], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_a_build_and_leaves_nothing(
    tmp_path: Path, tiny_triton: TritonSession, silent_web: tuple[str, socket.socket], number: int, code: int
) -> None:
    link, server = silent_web
    process = building(tmp_path, tiny_triton, link)
    connection, _ = server.accept()
    with connection, process:
        assert (tmp_path / ".shop.lock").exists()
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert said == "sightline: interrupted; no catalog was written\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["feed.csv"]


def test_a_build_under_nohup_goes_on_when_the_terminal_is_closed(
    tmp_path: Path, tiny_triton: TritonSession, silent_web: tuple[str, socket.socket]
) -> None:
    link, server = silent_web
    process = building(tmp_path, tiny_triton, link, "nohup")
    connection, _ = server.accept()
    with connection, process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143
