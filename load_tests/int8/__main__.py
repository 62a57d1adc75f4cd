"""Measures the gain of int8 for the default detector on this CPU, and how its answers change.

    python -m load_tests.int8 [--only NAME ...] [--photos DIR] [--turns 12] [--out FILE]

Each recipe (`recipes.RECIPES`) is calibrated on images of the showroom: half of its photos, and every fourth image of
its products. It is judged by the limits of the gate of bf16 on the 13 images of that gate, on the other half of the
showroom's photos, and with --photos on the JPEG photos below DIR. Times are CPU milliseconds of an image on one thread.
Prints a line for each recipe and one JSON object on the last line. With --out the model of the only recipe that is
named by --only is written to FILE. Nothing of a model repository is changed.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from load_tests.direct.path import DirectModel
from load_tests.generator.photos import ROOT
from load_tests.int8.comparing import Difference, answers, difference, times_ms
from load_tests.int8.quantizing import quantized
from load_tests.int8.ranges import observe, open_model, slopes
from load_tests.int8.recipes import RECIPES, Recipe, layers_of
from sightline_models.places import default_repository
from sightline_models.store import served_path
from sightline_server.domain.models import DetectorSpec
from sightline_server.embedded.precision_gate import gate_images
from sightline_server.settings import Settings
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import detector_input
from sightline_server.triton.specs import read_detector

SHOWROOM = ROOT / "examples/showroom"
FLOAT32 = "float32"
Images = list[NDArray[np.uint8]]


def inputs(paths: Iterable[Path], spec: DetectorSpec) -> Images:
    """Photos as the detector gets them: uint8 [H,W,3] each."""
    settings = Settings()
    limits = settings.limits
    bounds = DecodeLimits(limits.max_photo_bytes, limits.max_photo_pixels, settings.decode.max_frame_edge)
    return [detector_input(decode(path.read_bytes(), bounds), spec).pixels for path in paths]


def judged_images(spec: DetectorSpec, photos: Path | None) -> dict[str, Images]:
    """The images of the comparisons, by the name of their set."""
    found = {"gate": list(gate_images(spec.height, spec.width)), "showroom": inputs(showroom_photos()[::2], spec)}
    return found | ({"photos": inputs(sorted(photos.rglob("*.jpg")), spec)} if photos else {})


def showroom_photos() -> list[Path]:
    """The showroom's photos by name."""
    return sorted((SHOWROOM / "photos").glob("*.jpg"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantizes, compares and prints."""
    given = parsed(arguments)
    repository = given.repository or default_repository(None)
    direct = DirectModel(repository / "detector", 1)
    spec = read_detector("detector", direct.metadata, direct.config, direct.sha256)
    path = served_path(repository, "detector")
    model = onnx.load(path)
    layers, below = layers_of(model.graph.node), slopes(list(model.graph.node))
    products = sorted((SHOWROOM / "products").rglob("*.jpg"))[::4]
    observed = observe(model, inputs([*showroom_photos()[1::2], *products], spec))
    sets = judged_images(spec, given.photos)
    sessions: dict[str, Any] = {FLOAT32: open_model(str(path))}
    truth = {name: answers(sessions[FLOAT32], images) for name, images in sets.items()}
    result: dict[str, Any] = {}
    for recipe in given.recipes:
        data = quantized(path.read_bytes(), recipe, recipe.nodes(layers), observed, below)
        sessions[recipe.name] = open_model(data)
        found = {name: difference(truth[name], answers(sessions[recipe.name], sets[name])) for name in sets}
        print(f"{recipe.name}: " + "; ".join(f"{name}: {each.line()}" for name, each in found.items()), flush=True)
        result[recipe.name] = shown(data, found)
        if given.out:
            given.out.write_bytes(data)
    for name, (shortest, median) in times_ms(sessions, sets["gate"][1], given.turns).items():
        print(f"{name}: {shortest:.1f} ms at least, {median:.1f} ms in the median")
        result.setdefault(name, {})["ms"] = [round(shortest, 1), round(median, 1)]
    print(json.dumps(result))
    return 0


def shown(data: bytes, found: dict[str, Difference]) -> dict[str, Any]:
    """The figures of a recipe by name."""
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "passes": all(each.same for each in found.values()),
        **{name: {"kept": each.kept, "of": each.clear, "lost": each.lost} for name, each in found.items()},
    }


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with `recipes`."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.int8", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [recipe.name for recipe in RECIPES]
    parser.add_argument("--repository", type=Path, help="the model repository; the checkout's if left out")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"recipes: {'; '.join(names)}")
    parser.add_argument("--photos", type=Path, help="a folder of further JPEG photos to judge by")
    parser.add_argument("--turns", type=int, default=12, help="times that each recipe's time is taken")
    parser.add_argument("--out", type=Path, help="file for the model of the one recipe of --only")
    given = parser.parse_args(arguments)
    given.recipes = selected(given.only)
    if given.out and len(given.recipes) != 1:
        parser.error("--out needs --only with one name")
    return given


def selected(names: Sequence[str] | None) -> list[Recipe]:
    """The recipes of these names; all of them for None."""
    return [recipe for recipe in RECIPES if names is None or recipe.name in names]


if __name__ == "__main__":
    raise SystemExit(main())
