"""The result of every script here: one JSON object, on the last line and in a file, that says where it was made.

Rule: a figure never appears without its date, its hardware, its device and its command.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DEFAULT_OUT = Path("gpu-results")
NVIDIA_SMI = "name,memory.total,driver_version,clocks.max.sm,clocks.max.mem"
STATE = "memory.used,utilization.gpu"


def out_folder(given: Path | None) -> Path:
    """The folder for results: the one given, `$OUT`, or `gpu-results`."""
    return given or Path(os.environ.get("OUT") or DEFAULT_OUT)


def common_options(parser: argparse.ArgumentParser) -> None:
    """The options that every script here has."""
    parser.add_argument("--cpu", action="store_true", help="small sizes on the CPU: shows that the script works")
    parser.add_argument("--out", type=Path, help="folder for the JSON file; default $OUT, else gpu-results")


def publish(name: str, figures: Mapping[str, Any], *, cpu: bool, out: Path | None) -> None:
    """Writes OUT/NAME.json and prints the same object as the last line."""
    record = {
        "script": name,
        "device": "cpu" if cpu else "gpu",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "hardware": hardware(),
        **figures,
    }
    folder = out_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record), flush=True)


def hardware() -> dict[str, Any]:
    """The machine: processor, cores, memory, and each GPU's name, memory, driver and highest clocks."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / (1 << 30), 1),
        "python": platform.python_version(),
        "gpus": gpus(),
    }


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def gpus() -> list[dict[str, str]]:
    """The name, memory and driver of each GPU; empty without nvidia-smi."""
    return asked_of_gpus(NVIDIA_SMI)


def gpu_state() -> list[dict[str, str]]:
    """The memory in use and the share of time in which each GPU worked, now; empty without nvidia-smi."""
    return asked_of_gpus(STATE)


def asked_of_gpus(fields: str) -> list[dict[str, str]]:
    """The answer of nvidia-smi to `fields` for each GPU."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    return [
        dict(zip(fields.split(","), map(str.strip, line.split(",")), strict=True))
        for line in done.stdout.splitlines()
        if line.strip()
    ]


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Puts the steps of `run.sh` together: OUT/run.json, and the same object on the last line."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.results", description=main.__doc__)
    common_options(parser)
    parser.add_argument("steps", nargs="*", metavar="NAME=CODE", help="each step's exit code; 124 is out of time")
    arguments = parser.parse_args()
    codes = {name: int(code) for name, _, code in (step.partition("=") for step in arguments.steps)}
    folder = out_folder(arguments.out)
    found = {name: folder / f"{name}.json" for name, code in codes.items() if code == 0}
    figures = {name: without_header(json.loads(path.read_text())) for name, path in found.items()}
    failed = {name: code for name, code in codes.items() if code}
    publish("run", {"failed": failed, **figures}, cpu=arguments.cpu, out=arguments.out)
    return 1 if failed or not codes else 0


def without_header(record: Mapping[str, Any]) -> dict[str, Any]:
    """A step's own figures; the header appears once, in the run's."""
    return {name: value for name, value in record.items() if name not in {"script", "device", "date", "hardware"}}


if __name__ == "__main__":
    sys.exit(main())
