"""Both models in the engine's ONNX Runtime by batch size, against their floor: `python -m load_tests.gpu.models`.

Rule: timed in the engine's own environment, by the provider that the engine would use; operations and bytes are counted
from the ONNX files, the ceilings are measured (memory) or computed from the chip (operations).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from load_tests.generator.photos import ROOT
from load_tests.gpu.cuda import CudaError, Gpu
from load_tests.gpu.operations import Work, count
from load_tests.gpu.results import common_options, publish, say
from sightline_models.places import default_home
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.embedded.command import environment
from sightline_server.embedded.installation import Installation, installation_of
from sightline_server.errors import SightlineError

TIMER = Path(__file__).with_name("time_model.py")
GPU_BATCHES, CPU_BATCHES = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4)
TIMER_LIMIT_S = 240.0


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The limits of the device: operations and bytes a second, and the source of both figures."""

    ops_per_s: float
    bytes_per_s: float
    source: str


def main() -> int:
    """Measures both models; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.models", description=__doc__)
    common_options(parser)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--home", type=Path, default=default_home(), help="where the engine is installed")
    parser.add_argument("--seconds", type=float, help="length of each reading; default 1.5, with --cpu 0.5")
    parser.add_argument("--batches", type=int, nargs="+", help="batch sizes instead of the usual ones")
    arguments = parser.parse_args()
    try:
        installation = installation_of(arguments.home.absolute())
        ceiling = cpu_ceiling() if arguments.cpu else gpu_ceiling()
    except (SightlineError, CudaError) as error:
        say(f"models: {error}")
        return 2
    batches = arguments.batches or (CPU_BATCHES if arguments.cpu else GPU_BATCHES)
    seconds = arguments.seconds or (0.5 if arguments.cpu else 1.5)
    figures: dict[str, Any] = {
        "ceiling": {"ops_per_s": ceiling.ops_per_s, "bytes_per_s": ceiling.bytes_per_s, "source": ceiling.source}
    }
    for model in (DETECTOR, EMBEDDER):
        path = arguments.repository / model / "1" / "model.onnx"
        say(f"{model}: batches {', '.join(map(str, batches))}")
        timed = time_model(installation, path, batches, seconds, cpu=arguments.cpu)
        figures[model] = {**timed, **against_floor(count(path), timed["batches"], ceiling)}
    publish("models", figures, cpu=arguments.cpu, out=arguments.out)
    return 0


def time_model(
    installation: Installation, path: Path, batches: tuple[int, ...], seconds: float, *, cpu: bool
) -> dict[str, Any]:
    """The output of `time_model.py` in the engine's environment. Raises RuntimeError with its message when it fails."""
    provider = "CPUExecutionProvider" if cpu else "CUDAExecutionProvider"
    command = [str(installation.venv / "bin" / "python"), str(TIMER), str(path), provider, str(seconds)]
    done = subprocess.run(
        [*command, *map(str, batches)],
        env=environment(installation, gpu=not cpu),
        capture_output=True,
        text=True,
        timeout=TIMER_LIMIT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"timing {path} failed: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def against_floor(work: Work, rows: list[dict[str, float]], ceiling: Ceiling) -> dict[str, Any]:
    """A model's work, and each batch's milliseconds per image next to those of the floor."""
    for row in rows:
        batch = int(row["batch"])
        floor_ms = work.floor_s(batch, ceiling.ops_per_s, ceiling.bytes_per_s) * 1e3
        row["ms_per_picture"] = round(row["p50_ms"] / batch, 4)
        row["floor_ms"] = float(f"{floor_ms:.3g}")
        row["of_floor"] = float(f"{floor_ms / row['p50_ms']:.3g}")
        row["tflops"] = round(batch * work.ops / row["p50_ms"] / 1e9, 3)
    best = min(rows, key=lambda row: row["ms_per_picture"])
    return {
        "gflop_per_picture": round(work.ops / 1e9, 3),
        "weight_mb": round(work.weight_bytes / 1e6, 2),
        "picture_mb": round(work.picture_bytes / 1e6, 3),
        "best_batch": best["batch"],
        "best_ms_per_picture": best["ms_per_picture"],
    }


def gpu_ceiling() -> Ceiling:
    """TF32 is what ONNX Runtime's convolutions use from compute capability 8.0 on, float32 before."""
    gpu = Gpu()
    peak = gpu.peak()
    kind, ops = ("tf32", peak.tf32) if peak.tf32 else ("fp32", peak.fp32)
    if not ops:
        raise CudaError(f"no peak is known for compute capability {gpu.capability}; see FP32_LANES in cuda.py")
    return Ceiling(ops, gpu.copy_bytes_per_s(), f"{kind} of the chip at its highest clock; copy within the memory")


def cpu_ceiling(size: int = 1536) -> Ceiling:
    """A float32 matrix product and a copy, on all cores as numpy uses them; the best of three."""
    source = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    target = np.zeros(64 << 20, np.uint8)
    copied = np.ones_like(target)
    product_s = min(timed(lambda: source @ source) for _ in range(3))
    copy_s = min(timed(lambda: np.copyto(target, copied)) for _ in range(3))
    return Ceiling(2.0 * size**3 / product_s, 2.0 * target.nbytes / copy_s, "numpy: float32 product, copy")


def timed(work: Any) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    sys.exit(main())
