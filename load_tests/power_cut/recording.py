"""A writing process under strace, and the disk that it wrote to."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from load_tests.power_cut.disk import Disk, Guess
from load_tests.power_cut.trace import Call, command
from sightline_server.errors import SightlineError

ACKNOWLEDGED = b"ack "
TIMEOUT_S = 600.0


def traced(work: Path, module: str, arguments: Sequence[str]) -> Path:
    """Runs `python -m module` with `arguments` under strace, and returns the trace. Raises when it fails."""
    strace = shutil.which("strace")
    if strace is None:
        raise FileNotFoundError("strace is not on PATH")
    trace = work / "trace"
    words = command(strace, str(trace), [sys.executable, "-m", module, *arguments])
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    return trace


def acknowledged(call: Call) -> int:
    """The number of the write that a call acknowledges; 0 for every other call."""
    if call.name != "write" or call.begun or not call.arguments[1].startswith(ACKNOWLEDGED):
        return 0
    return int(call.arguments[1].split()[1])


def faults(disk: Disk, work: Path, fault: Callable[[Path], str], seed: int) -> list[str]:
    """The fault of each guess at what the disk holds now, as `fault` finds it in a rebuilt folder."""
    found = []
    for guess in Guess:
        rebuilt = work / "rebuilt"
        disk.write_to(rebuilt, guess, seed)
        try:
            wrong = fault(rebuilt)
        except SightlineError as error:
            wrong = error.message
        finally:
            shutil.rmtree(rebuilt)
        found += [f"{guess.value}: {wrong}"] if wrong else []
    return found


def chosen(count: int, cuts: int, seed: int) -> set[int]:
    """`cuts` of the numbers from 1 to `count`, or all of them."""
    return set(random.Random(seed).sample(range(1, count + 1), min(cuts, count)))
