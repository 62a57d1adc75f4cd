"""Image libraries print nothing into the log of a server, whatever the file; our own lines stay."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hostile_photos import NOISY

PROGRAM = """
import logging, os, sys
from pathlib import Path
if sys.argv[1] == "closed":
    from sightline_server.telemetry.stderr import close_to_libraries
    close_to_libraries()
from sightline_server.telemetry import logging as server_logging
server_logging.configure("INFO", json_lines=False)
from sightline_server.errors import SightlineError
from sightline_server.stages.decode import DecodeLimits, decode
for name in sys.argv[2:]:
    try:
        decode(Path(name).read_bytes(), DecodeLimits(1 << 22, 1 << 22, 512))
        logging.info("decoded")
    except SightlineError as error:
        logging.info("refused")
print("printed by Python", file=sys.stderr)
if sys.argv[1] == "closed":
    os.abort()
"""


def photos(folder: Path) -> list[str]:
    """Files about which libtiff, libjpeg and libpng print."""
    paths = [folder / f"{place}.{name.split()[0]}" for place, name in enumerate(NOISY)]
    for path, make in zip(paths, NOISY.values(), strict=True):
        path.write_bytes(make())
    return [str(path) for path in paths]


def lines_of(how: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, how, *photos(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr.splitlines()


def test_libraries_print_without_it(tmp_path: Path) -> None:
    """A silence proves something only where there was noise."""
    printed = [line for line in lines_of("open", tmp_path) if "root: " not in line]
    assert any("UserWarning" in line for line in printed)
    assert any("Corrupt JPEG" in line for line in printed)
    assert any("libpng" in line for line in printed)


def test_every_line_of_the_log_is_ours_and_one_a_photo(tmp_path: Path) -> None:
    lines = lines_of("closed", tmp_path)
    ours = [line for line in lines if line.endswith(("root: decoded", "root: refused"))]
    assert len(ours) == 5
    assert lines[5] == "printed by Python"
    # And a crash is still reported.
    assert lines[6].startswith("Fatal Python error: Aborted")
    assert not any("tag" in line.lower() or "jpeg" in line.lower() or "libpng" in line for line in lines[:6])


@pytest.mark.parametrize("module", ["sightline_server.cli.serve", "sightline_server.workers.worker"])
def test_whatever_decodes_callers_photos_closes_stderr_to_libraries(module: str) -> None:
    source = Path(__import__(module, fromlist=["__file__"]).__file__ or "").read_text()
    assert source.index("close_to_libraries()") < source.index("server_logging.configure(")
