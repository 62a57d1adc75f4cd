"""`sightline catalog build --on ray` with the real Ray and Triton: on one node, resumed, with a node killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_server.cli.catalog import app
from sightline_server.index.catalog import open_catalog, read_facts
from tests.integration.test_engine import counters
from tests.support.catalogs import write_feed, write_picture
from tests.support.engine import TritonSession, sightline_home
from tests.support.ray_cluster import TwoNodes, require_ray

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from sightline_server.cli.catalog import app; app()"
)
SHORT_CHECK = "from sightline_server.ingest.on_ray import pool; pool.HEALTH_S = 8.0; "
"""Code that shortens the time in which a Ray must answer."""
DISTINCT = 25
TINY_INFERS = 40
"""Of each engine at its start, and while it is idle."""


@pytest.fixture(autouse=True)
def ray_is_there() -> None:
    require_ray()


def shop(folder: Path, products: int) -> Path:
    """A feed of `products` rows with an image each, of few distinct contents, and two bad rows."""
    pictures = folder / "pictures"
    for number in range(DISTINCT):
        write_picture(pictures / f"{number}.png", number * 10)
    for number in range(DISTINCT, products):
        os.link(pictures / f"{number % DISTINCT}.png", pictures / f"{number}.png")
    rows = [{"id": f"p{number}", "image_link": f"pictures/{number}.png"} for number in range(products)]
    rows += [{"id": "", "image_link": "pictures/0.png"}, {"id": "none", "image_link": "pictures/none.png"}]
    return write_feed(folder / "feed.csv", rows)


class Build:
    """A running build on Ray of `feed`, into `shop` next to it; `lines` is what it wrote to standard error."""

    def __init__(self, feed: Path, *options: object, first: str = "") -> None:
        code = first + COMMAND
        command = [sys.executable, "-c", code, "build", feed, "--out", feed.parent / "shop", "--on", "ray", *options]
        self.process = subprocess.Popen(
            [str(each) for each in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SIGHTLINE_HOME": str(sightline_home())},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += iter(self.process.stderr.readline, "")

    def wait_until_embedded(self, folder: Path, parts: int) -> None:
        """Returns when the checkpoint has so many parts."""
        while len(list(folder.glob("part-*.parquet"))) < parts:
            assert self.process.poll() is None, "".join(self.lines)
            time.sleep(0.02)

    def end(self) -> str:
        """Waits for the end; returns standard output."""
        assert self.process.stdout is not None
        output = self.process.stdout.read()
        self.process.wait(120)
        self._reader.join(30)
        return output

    def close(self) -> None:
        self.process.kill()
        self.end()


@pytest.fixture
def builds() -> Iterator[list[Build]]:
    """The builds of a test, which end with it."""
    started: list[Build] = []
    yield started
    for build in started:
        build.close()
        for pipe in (build.process.stdout, build.process.stderr):
            assert pipe is not None
            pipe.close()


def digest_of_local_build(feed: Path, triton: TritonSession) -> str:
    out = feed.parent / "local"
    result = CliRunner().invoke(app, ["build", str(feed), "--out", str(out), "--triton-url", triton.url])
    assert result.exit_code == 0, result.output
    return read_facts(out).content_sha256


def counts(output: str) -> tuple[int, int]:
    """The images that a build embedded, and those that earlier runs had embedded, as it says."""
    found = re.search(r"(\d+) images? embedded by \d+ workers?, (\d+) by earlier runs", output)
    assert found is not None, output
    return int(found[1]), int(found[2])


def test_a_build_on_one_node_equals_the_local_build(
    tmp_path: Path, tiny_triton: TritonSession, builds: list[Build]
) -> None:
    feed = shop(tmp_path, 300)
    build = Build(feed, "--triton-url", tiny_triton.url)
    builds.append(build)
    output = build.end()
    said = "".join(build.lines)
    assert build.process.returncode == 0, said
    assert f"{tmp_path / 'shop'}: 300 products, 300 images, 2 rows skipped" in output
    assert counts(output) == (300, 0)
    assert "row 302: there is no id" in said
    assert "row 303 (none): pictures/none.png: there is no such file" in said
    assert "302 of 302 rows" in said
    assert all(line.startswith(("row 30", *"0123456789")) for line in build.lines), said
    assert read_facts(tmp_path / "shop").content_sha256 == digest_of_local_build(feed, tiny_triton)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed.csv", "local", "pictures", "shop"]


def settled(triton: TritonSession) -> float:
    """The images that the engine has embedded, when the number has been the same for a second."""
    before, found = -1.0, 0.0
    while found != before:
        time.sleep(1.0)
        before, found = found, counters(triton.metrics_url, "embedder")["nv_inference_count"]
    return found


def test_a_build_whose_process_was_killed_embeds_only_the_rest(
    tmp_path: Path, tiny_triton: TritonSession, builds: list[Build]
) -> None:
    feed = shop(tmp_path, 2000)
    first = Build(feed, "--triton-url", tiny_triton.url)
    builds.append(first)
    first.wait_until_embedded(tmp_path / "shop.embedded", 5)
    first.process.kill()
    first.end()
    before = settled(tiny_triton)
    second = Build(feed, "--triton-url", tiny_triton.url)
    builds.append(second)
    output = second.end()
    assert second.process.returncode == 0, "".join(second.lines)
    embedded, kept = counts(output)
    print(f"embedded by the second run {embedded}, kept from the first {kept}")
    assert kept >= 5 * 128
    assert embedded == 2000 - kept
    # Not a fact of ours: Triton's own count.
    assert embedded <= settled(tiny_triton) - before <= embedded + TINY_INFERS
    assert read_facts(tmp_path / "shop").content_sha256 == digest_of_local_build(feed, tiny_triton)


def test_two_nodes_of_which_one_is_killed_give_every_product_once(
    tmp_path: Path, tiny_triton: TritonSession, builds: list[Build]
) -> None:
    feed = shop(tmp_path, 2000)
    with TwoNodes() as nodes:
        # Each node starts an engine.
        build = Build(feed, "--address", nodes.address, "--repository", tiny_triton.repository)
        builds.append(build)
        build.wait_until_embedded(tmp_path / "shop.embedded", 3)
        nodes.kill_second()
        at_kill = len(list((tmp_path / "shop.embedded").glob("part-*.parquet")))
        output = build.end()
    assert build.process.returncode == 0, "".join(build.lines)
    embedded, _ = counts(output)
    print(f"killed after {at_kill} of 16 blocks; {embedded} images embedded")
    assert at_kill < 16
    ids = open_catalog(tmp_path / "shop").display["id"].to_pylist()
    assert ids == [f"p{number}" for number in range(2000)]
    assert read_facts(tmp_path / "shop").content_sha256 == digest_of_local_build(feed, tiny_triton)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_build_and_keeps_what_was_embedded(
    tmp_path: Path, tiny_triton: TritonSession, builds: list[Build], number: int, code: int
) -> None:
    feed = shop(tmp_path, 2000)
    build = Build(feed, "--triton-url", tiny_triton.url)
    builds.append(build)
    build.wait_until_embedded(tmp_path / "shop.embedded", 2)
    build.process.send_signal(number)
    assert build.end() == ""
    assert build.process.returncode == code
    assert build.lines[-1] == (
        f"sightline: interrupted; no catalog was written; what was embedded is in {tmp_path / 'shop.embedded'}: "
        "the same command goes on from there\n"
    )
    assert not (tmp_path / "shop").exists()


def test_an_address_where_another_program_listens_is_named(tmp_path: Path, builds: list[Build]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        build = Build(shop(tmp_path, 30), "--address", address, first=SHORT_CHECK)
        builds.append(build)
        build.end()
    assert build.process.returncode == 2
    assert build.lines[-1].startswith(f"sightline: no Ray answers at {address} (what listens there is another program")
    assert not (tmp_path / "shop.embedded").exists()
