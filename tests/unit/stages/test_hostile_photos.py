"""Photos of few bytes that would cost seconds and a gigabyte: each costs little, in a process that is measured."""

import json
import subprocess
import sys

import pytest

from tests.support.hostile_photos import HOSTILE
from tests.support.pictures import encode, gradient

CPU_S = 4.0
"""The bound is 1 s on a quiet machine; a shared one counts several times as much for the same work."""
MEMORY_MB = 400

MEASURE = """
import json, re, sys, time
from pathlib import Path
from sightline_server.errors import SightlineError
from sightline_server.stages.decode import DecodeLimits, decode

LIMITS = DecodeLimits(20 << 20, 64_000_000, 3072)

def peak():
    return int(re.search(r"VmHWM:\\\\s+(\\\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

decode(Path(sys.argv[1]).read_bytes(), LIMITS)
for name in sys.argv[2:]:
    photo = Path(name).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    before, started = peak(), time.process_time()
    try:
        outcome = str(decode(photo, LIMITS).pixels.shape)
    except SightlineError as error:
        outcome = error.kind.name
    print(json.dumps([Path(name).name, time.process_time() - started, peak() - before, outcome]), flush=True)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float, str]]:
    """CPU seconds, megabytes and outcome of each hostile photo."""
    folder = tmp_path_factory.mktemp("hostile")
    warm = folder / "warm"
    warm.write_bytes(encode(gradient()))
    paths = [folder / name for name in HOSTILE]
    for path in paths:
        path.write_bytes(HOSTILE[path.name]())
    command = [sys.executable, "-c", MEASURE.replace("\\\\", "\\"), str(warm), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    return {name: (cpu, memory, outcome) for name, cpu, memory, outcome in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_photo_costs_little(name: str, measured: dict[str, tuple[float, float, str]]) -> None:
    cpu_s, memory_mb, _ = measured[name]
    assert cpu_s < CPU_S
    assert memory_mb < MEMORY_MB
