"""The gate of bf16: compares a model's answers in float32 and in bf16 on known images, in the engine's own environment.

The images are the two of `sightline models check` and variants of the second: mirrored, turned, its quarters enlarged.
Rule: what is compared is what a search uses: directions of embeddings, and the set of boxes. A model that gives too
little to compare does not pass.
"""

import io
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_models.images import probes
from sightline_models.sources import sha256_of
from sightline_models.store import role_of, served_path
from sightline_server.embedded.command import environment
from sightline_server.embedded.installation import Installation
from sightline_server.embedded.precision import Comparison
from sightline_server.errors import ErrorKind, SightlineError

LEAST_COSINE = 0.998
"""Smallest cosine of an embedding in bf16 and in float32."""
CLEAR_SCORE = 0.25
"""Boxes of this score or more are compared."""
LEAST_OVERLAP = 0.9
"""Smallest IoU of a box in bf16 and in float32."""
SCORE_TOLERANCE = 0.05
TIMEOUT_S = 15.0
"""Longest time of a comparison; two of them and Triton's own start fit into `start_timeout_s`."""

Array = NDArray[Any]
Answers = Mapping[str, Array]


def compare(installation: Installation, repository: Path, model: str) -> Comparison:
    """Runs the detector or embedder in folder `model` in both precisions and compares the answers (about 2 s).

    Raises `TimeoutError` where it takes longer than `TIMEOUT_S`, as on a machine without a free core.
    """
    path = served_path(repository, model)
    digest = sha256_of(path)
    try:
        answers = run_both(installation, path)
        if not all(np.isfinite(array).all() for array in answers.values()):
            return Comparison(model, digest, False, False, "the answers in bf16 are not finite")
        same, finding = judge(role_of(model), of_precision(answers, "float32"), of_precision(answers, "bf16"))
    except SightlineError as error:
        return Comparison(model, digest, False, False, error.message)
    times = (float(answers[f"{precision}/ms"]) for precision in ("float32", "bf16"))
    return Comparison(model, digest, True, same, finding, *times)


def run_both(installation: Installation, path: Path) -> Answers:
    """The answers of `backend/compare_precisions.py` for a model file.

    Raises `SightlineError` when it fails, `TimeoutError` when it takes too long.
    """
    program = installation.backends / "onnxruntime" / "compare_precisions.py"
    command = [str(installation.venv / "bin" / "python"), "-B", str(program), str(path)]
    with subprocess.Popen(
        command,
        env=environment(installation, gpu=False),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        size = process.stdout.readline().split()
        images = io.BytesIO()
        if len(size) == 2:
            np.save(images, gate_images(int(size[0]), int(size[1])))
        try:
            answers, said = process.communicate(images.getvalue(), timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise TimeoutError from None
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise failure(last[0][:200] if last else f"exit code {process.returncode}")
    with np.load(io.BytesIO(answers)) as archive:
        return {name: archive[name] for name in archive.files}


def failure(reason: str) -> SightlineError:
    """The error of a model that does not run in bf16."""
    return SightlineError(ErrorKind.CONFIGURATION, f"OpenVINO does not run it: {reason}")


def gate_images(height: int, width: int) -> NDArray[np.uint8]:
    """The images of the comparison, uint8 [13,height,width,3]; the first two are those of `sightline models check`."""
    side = max(height, width)
    noise, scene = probes(side)
    half = side // 2
    quarters = [scene[top : top + half, left : left + half] for top in (0, side - half) for left in (0, side - half)]
    turned = [np.rot90(scene, turns) for turns in (1, 2, 3)]
    enlarged = [quarter.repeat(2, axis=0).repeat(2, axis=1) for quarter in quarters]
    padded = [np.pad(each, ((0, side - 2 * half), (0, side - 2 * half), (0, 0)), "edge") for each in enlarged]
    variants = [noise, scene, *turned, *(each[:, ::-1] for each in (scene, *turned)), *padded]
    return np.ascontiguousarray(np.stack(variants)[:, :height, :width])


def of_precision(answers: Answers, precision: str) -> Answers:
    """The outputs in one precision by their names in the model."""
    prefix = f"{precision}/"
    return {name.removeprefix(prefix): array for name, array in answers.items() if name.startswith(prefix)}


def judge(role: str, float32: Answers, bf16: Answers) -> tuple[bool, str]:
    """The verdict: True where the answers are the same within the limits; and the finding, as a phrase."""
    if role == "embedder":
        return judge_embeddings(float32["EMBEDDINGS"], bf16["EMBEDDINGS"])
    return judge_boxes(float32, bf16)


def judge_embeddings(float32: Array, bf16: Array) -> tuple[bool, str]:
    """Compares the directions of embeddings [N,D]."""
    lengths = np.linalg.norm(float32, axis=1) * np.linalg.norm(bf16, axis=1)
    lowest = float((np.sum(float32 * bf16, axis=1) / np.maximum(lengths, 1e-12)).min())
    return lowest >= LEAST_COSINE, f"lowest cosine {lowest:.5f} of {len(float32)} embeddings"


def judge_boxes(float32: Answers, bf16: Answers) -> tuple[bool, str]:
    """Compares the sets of clear boxes of N images: each is found again with label, position and score, both ways."""
    images = range(len(float32["SCORES"]))
    pairs = [(of_image(float32, place), of_image(bf16, place)) for place in images]
    kept, clear = np.sum([found_again(one, other) for one, other in pairs], axis=0)
    back, shown = np.sum([found_again(other, one) for one, other in pairs], axis=0)
    finding = f"{kept} of {clear} boxes found again, {shown - back} further ones"
    return bool(clear > 0 and kept == clear and back == shown), finding


def of_image(answers: Answers, place: int) -> Answers:
    """The boxes of one image."""
    return {name: answers[name][place] for name in ("BOXES", "SCORES", "LABELS")}


def found_again(one: Answers, other: Answers) -> tuple[int, int]:
    """The number of clear boxes of `one` that are among those of `other`, and the number of all its clear boxes."""
    clear = np.flatnonzero(one["SCORES"] >= CLEAR_SCORE)
    found = 0
    for place in clear:
        near = np.abs(other["SCORES"] - one["SCORES"][place]) <= SCORE_TOLERANCE
        same = (other["LABELS"] == one["LABELS"][place]) & near
        found += bool((overlaps(one["BOXES"][place], other["BOXES"][same]) >= LEAST_OVERLAP).any())
    return found, len(clear)


def overlaps(box: Array, boxes: Array) -> Array:
    """IoU of one box [4] with boxes [K,4], all xyxy."""
    inner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(inner, 0, None).prod(axis=1)
    areas = [np.clip(each[..., 2:] - each[..., :2], 0, None).prod(axis=-1) for each in (box, boxes)]
    overlap: Array = shared / np.maximum(areas[0] + areas[1] - shared, 1e-12)
    return overlap
