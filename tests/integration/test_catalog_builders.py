"""Builders and readers as processes: killed, side by side, and reading while another replaces."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_server.errors import SightlineError
from sightline_server.index.catalog import open_catalog
from tests.support.catalogs import DIMENSION, SPEC, row, unit_vectors, write_catalog

CHECKOUT = Path(__file__).parents[2]

# Writes fragments that are on the disk, says so, and waits for its end with the catalog not yet committed.
BUILDER = """
import signal
import sys
from pathlib import Path
from sightline_server.index.writer import CatalogWriter
from tests.support.catalogs import SPEC, row, unit_vectors

# Tests that run in the background of a shell inherit from it that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with CatalogWriter(Path(sys.argv[1]), SPEC, replace=True) as writer:
    writer.add([row(f"p{number}", unit_vectors(1, number)) for number in range(50)])
    writer._flush()
    print("building", flush=True)
    sys.stdin.read()
"""


def builder(out: Path) -> subprocess.Popen[str]:
    """A process in the middle of building `out`."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(out)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    return process


def end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> int:
    """Ends the process by a signal and closes its pipes; returns its exit status."""
    process.send_signal(number)
    with process:
        return process.wait(20)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("old", [False, True], ids=["new catalog", "replacing one"])
def test_a_killed_build_changes_nothing_and_the_next_one_starts_clean(tmp_path: Path, old: bool) -> None:
    out = tmp_path / "shop"
    if old:
        write_catalog(out, [row("old", unit_vectors(1))])
    process = builder(out)
    assert any((tmp_path / f"shop.partial-{process.pid}" / "data").iterdir())
    assert end(process) == -signal.SIGKILL

    assert out.exists() is old
    if old:
        assert open_catalog(out, SPEC).display["id"].to_pylist() == ["old"]
    assert f"shop.partial-{process.pid}" in names(tmp_path)

    write_catalog(out, [row("new", unit_vectors(1))], replace=old)
    assert names(tmp_path) == ["shop"]
    assert open_catalog(out, SPEC).display["id"].to_pylist() == ["new"]


def test_an_interrupted_build_takes_its_files_with_it(tmp_path: Path) -> None:
    process = builder(tmp_path / "shop")
    assert end(process, signal.SIGINT) != 0
    assert names(tmp_path) == []


def test_two_builders_of_one_catalog(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    first = builder(out)
    try:
        with pytest.raises(SightlineError, match=f"another build of .*process {first.pid}"):
            write_catalog(out, [row("second", unit_vectors(1))])
        assert f"shop.partial-{first.pid}" in names(tmp_path)
        write_catalog(tmp_path / "other", [row("a", unit_vectors(1))])
    finally:
        end(first)
    write_catalog(out, [row("second", unit_vectors(1))])
    assert open_catalog(out).facts.products == 1


READER = """
import sys
from pathlib import Path
from sightline_server.index.catalog import open_catalog

read = 0
print("reading", flush=True)
while not Path(sys.argv[2]).exists():
    catalog = open_catalog(Path(sys.argv[1]))
    ids = catalog.display["id"].to_pylist()
    # Every row of one build has the same prefix, and a build has as many rows as its number says.
    [build] = {int(text.split("-")[0]) for text in ids}
    assert len(ids) == build, (build, len(ids))
    read += 1
print(read, flush=True)
"""


def test_a_reader_always_finds_one_whole_catalog_while_it_is_replaced(tmp_path: Path) -> None:
    out, stop = tmp_path / "shop", tmp_path / "stop"

    def replace(build: int) -> None:
        rows = [row(f"{build}-{number}", unit_vectors(1, number)) for number in range(build)]
        write_catalog(out, rows, replace=True)

    replace(1)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(out), str(stop)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        for build in range(2, 40):
            replace(build)
        stop.touch()
        answer, _ = reader.communicate(timeout=30)
    finally:
        if reader.poll() is None:
            end(reader)
    assert reader.returncode == 0
    assert int(answer) > 0
    assert names(tmp_path) == ["shop", "stop"]
    assert open_catalog(out).facts.embedder.dimension == DIMENSION
