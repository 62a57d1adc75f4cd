"""A comparison of the GPU's answers with the CPU's: `python -m load_tests.gpu.quality --catalog DIR`.

The showroom measured through a server on the GPU, once with the catalog given (made elsewhere, on a CPU as a rule) and
once with one that is built here on the GPU; then the embedder's own figures on both providers.
Rule: the server says where the index lies, and a run in which that is not the device asked for fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from load_tests.generator.photos import ROOT
from load_tests.gpu.path import settings
from load_tests.gpu.results import common_options, publish, say
from sightline_client.errors import SightlineError
from sightline_client.local_server import LocalServer
from sightline_models.places import default_home
from sightline_server.embedded.command import environment
from sightline_server.embedded.installation import installation_of

MEASURE = ROOT / "examples" / "showroom" / "measure.py"
PRODUCT_IMAGES = ROOT / "examples" / "showroom" / "products"
COMPARE = Path(__file__).with_name("compare_providers.py")
PLACES = {"gpu": "GPU 0, float16", "cpu": "CPU, float32"}
LIMIT_S = 240.0


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.quality", description=__doc__)
    common_options(parser)
    parser.add_argument("--catalog", type=Path, required=True, help="the showroom's catalog, built elsewhere")
    parser.add_argument("--home", type=Path, default=default_home(), help="where the engine is installed")
    arguments = parser.parse_args()
    device = "cpu" if arguments.cpu else "gpu"
    try:
        figures: dict[str, Any] = {"given_catalog": of_given_catalog(arguments.catalog, device)}
    except SightlineError as error:
        say(f"quality: {error}")
        return 2
    if figures["given_catalog"]["index"] != PLACES[device]:
        say(f"quality: asked for {device}, but the index lies on {figures['given_catalog']['index']}")
        return 1
    figures["built_here"] = measure([], settings(device))
    if not arguments.cpu:
        figures["embeddings_to_cpu"] = compare_providers(arguments.home.absolute())
    publish("quality", figures, cpu=arguments.cpu, out=arguments.out)
    return 0


def of_given_catalog(catalog: Path, device: str) -> dict[str, Any]:
    """The showroom's figures with `catalog`, and where its index lies."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with LocalServer(catalog=catalog, env=settings(device), log=log) as server:
            figures = measure(["--target", server.target], {})
        text = log.read_text(errors="replace")
    return {**figures, "index": next((place for place in PLACES.values() if place in text), "nothing that it names")}


def measure(options: list[str], extra: dict[str, str]) -> dict[str, Any]:
    """The output of `measure.py`; a missed goal is one of its figures. Raises RuntimeError when it does not measure."""
    done = subprocess.run(
        [sys.executable, str(MEASURE), *options],
        env={**os.environ, **extra},
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
    )
    try:
        figures: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{MEASURE.name} ended with exit code {done.returncode} and printed no JSON") from None
    return figures


def compare_providers(home: Path) -> dict[str, Any]:
    """The output of `compare_providers.py` for the showroom's product images. Raises RuntimeError when it fails."""
    installation = installation_of(home)
    with tempfile.TemporaryDirectory() as folder:
        crops = Path(folder) / "crops.npy"
        np.save(crops, product_crops(260))
        done = subprocess.run(
            [installation.venv / "bin" / "python", COMPARE, ROOT / "model_repository/embedder/1/model.onnx", crops],
            env=environment(installation, gpu=True),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    if done.returncode != 0:
        raise RuntimeError(f"{COMPARE.name} failed: {done.stderr.strip()[-2000:]}")
    compared: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return compared


def product_crops(side: int) -> Any:
    """The showroom's product images as uint8 [N,side,side,3]."""
    files = sorted(PRODUCT_IMAGES.glob("*.jpg"))
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((side, side))) for file in files])


if __name__ == "__main__":
    sys.exit(main())
