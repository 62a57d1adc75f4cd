"""Makes `tests/data/exported/command/*.npz`: models of `exported_samples.py`, exported by `sightline models export`.

    make models-reference

Run once when a family is added, never in tests. Each network is saved to a folder as its library saves it, with the
processor's file of its family, and the command reads that folder. The file is compared here, and in `make test`, with
the answers that `exported_samples.py` stored, which knows nothing of Sightline.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.torch import save_file
from typer.testing import CliRunner

from sightline_server.cli.models import app
from tests.congruence.exported_samples import CLIP, HALF, IMAGENET, OUTPUT, UNIT, Sample, define_operators, samples

FOLDER = OUTPUT / "command"
Levels = tuple[Sequence[float], Sequence[float]]


def processor(levels: Levels, resample: int, **others: Any) -> Mapping[str, Any]:
    """A `preprocessor_config.json` as those of the hub are."""
    mean, std = levels
    shared = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    return {**shared, "image_mean": list(mean), "image_std": list(std), "resample": resample, **others}


def square(edge: int) -> Mapping[str, int]:
    """A size as transformers writes it."""
    return {"height": edge, "width": edge}


def timm_facts(levels: Levels, edge: int, classes: int) -> Mapping[str, Any]:
    """The `pretrained_cfg` of timm's `config.json`."""
    mean, std = levels
    facts = {"input_size": [3, edge, edge], "mean": list(mean), "std": list(std), "num_classes": classes}
    return {**facts, "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center"}


@dataclass(frozen=True)
class Family:
    """The file of a processor, or timm's `config.json`, and the options of the command."""

    processor: Mapping[str, Any] | None = None
    timm: Mapping[str, Any] | None = None
    options: Sequence[str] = ()


_DINO = processor(IMAGENET, 3, do_center_crop=True, crop_size=square(28), size={"shortest_edge": 32})
_SQUASHED = processor(IMAGENET, 2, do_normalize=False, do_pad=False, size=square(64))
_FASTVIT = {
    "layers": [1, 1, 1, 1],
    "token_mixers": ["repmixer", "repmixer", "repmixer", "attention"],
    "embed_dims": [8, 8, 8, 32],
    "mlp_ratios": [1, 1, 1, 1],
    "downsamples": [False, True, True, True],
    "cls_ratio": 1.0,
}
_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
FAMILIES: Mapping[str, Family] = {
    "siglip2": Family(processor(HALF, 2, size=square(32))),
    "dinov2-cls": Family(_DINO),
    "dinov2-mean": Family(_DINO, options=("--pool", "mean")),
    "dinov3": Family(processor(IMAGENET, 2, do_center_crop=None, crop_size=None, size=square(32))),
    "clip": Family(processor(CLIP, 3, do_center_crop=True, crop_size=square(32), size={"shortest_edge": 32})),
    "mobileclip2-fastvit": Family(
        timm={"architecture": "fastvit_t8", "model_args": _FASTVIT, "pretrained_cfg": timm_facts(UNIT, 64, 12)},
        options=("--projection",),
    ),
    "timm-vit": Family(
        timm={"architecture": "vit_tiny_patch16_224", "model_args": _VIT, "pretrained_cfg": timm_facts(HALF, 32, 0)}
    ),
    "rt-detr": Family(_SQUASHED),
    "rt-detr-v2": Family(_SQUASHED),
    "d-fine": Family(_SQUASHED),
}
"""By the name of the sample."""


def save(sample: Sample, family: Family, folder: Path) -> None:
    """Writes the model as its library does."""
    if family.timm is not None:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(family.timm))
        save_file(sample.network.state_dict(), folder / "model.safetensors")
        return
    network: Any = sample.network
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(family.processor))


def exported(sample: Sample, family: Family) -> tuple[bytes, str]:
    """The file that the command writes, and what it prints."""
    role = "detector" if "pred_boxes" in sample.outputs else "embedder"
    with tempfile.TemporaryDirectory() as temporary:
        folder, file = Path(temporary) / sample.name, Path(temporary) / "model.onnx"
        save(sample, family, folder)
        options = ["--role", role, "--to", str(file), *family.options]
        done = CliRunner().invoke(app, ["export", str(folder), *options])
        if done.exit_code != 0:
            raise SystemExit(f"{sample.name}: {done.stderr} {done.exception!r}")
        return file.read_bytes(), done.stdout


def preprocess_of(printed: str) -> str:
    """The steps that the command prints, for `models add` or for `config.pbtxt`."""
    start = printed.index('{"resize"') if '{"resize"' in printed else printed.index('{\\"resize\\"')
    found, _ = json.JSONDecoder().raw_decode(printed[start:].replace('\\"', '"'))
    return json.dumps(found)


def main() -> None:
    """Writes a file for each family."""
    operators = define_operators()
    FOLDER.mkdir(exist_ok=True)
    left = dict(FAMILIES)
    for sample, _ in samples():
        family = left.pop(sample.name, None)
        if family is None:
            continue
        content, printed = exported(sample, family)
        onnx.checker.check_model(content, full_check=True)
        arrays: dict[str, Any] = {"model": np.frombuffer(content, np.uint8), "preprocess": preprocess_of(printed)}
        path = FOLDER / f"{sample.name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB; {printed.splitlines()[0]}")
    assert not left, left
    del operators


if __name__ == "__main__":
    main()
