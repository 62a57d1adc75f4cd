"""`models check`: compares the answers of the stored models with those of their makers' own networks.

Place in the flow: store -> ONNX Runtime on the CPU -> comparison with `references.npz`. The one rule: the references
come from other readers of the same weights (PyTorch, OpenCV, Paddle), never from the recipes. `docs/guide/models.md`
says how they were made. A custom model is held to the contract only.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline_models.contract import CONTRACTS, TOKENS, Contract, Tensor
from sightline_models.defaults import DEFAULT_MODELS, DefaultModel
from sightline_models.errors import ModelError
from sightline_models.images import probes
from sightline_models.store import State, StoredModel, inspect
from sightline_models.tokenizer import FILE, NoTokensError, TextTokenizer

EMBEDDING_TOLERANCE = 1e-4
"""Largest difference of one number of a unit-length embedding; PyTorch and ONNX Runtime differ by 4e-7."""
SCORE_TOLERANCE = 2e-3
"""Largest difference of a score; OpenCV and ONNX Runtime differ by 6e-5."""
BOX_TOLERANCE = 2e-3
"""Largest difference of a box edge, in parts of the frame (0.8 pixels of 416)."""
CLEAR_SCORE = 0.05
"""Boxes below it are compared by score only: noise orders them."""

_SAMPLE_TEXT = "a blue chair"

Array = npt.NDArray[Any]
Answers = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Checked:
    """A model that passed.

    deviation: the largest difference from the reference by output name; empty for a custom model.
    inputs, outputs: all tensors of the file.
    """

    stored: StoredModel
    deviation: Mapping[str, float]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def check(repository: Path, models: Sequence[DefaultModel] = DEFAULT_MODELS) -> list[Checked]:
    """Verifies each model's hash, its tensors and its answers to two known images.

    Raises:
        ModelError: missing or wrong file, tensors against the contract, or answers away from the reference.
    """
    return [check_one(inspect(repository, model)) for model in models]


def check_one(stored: StoredModel) -> Checked:
    """Verifies one model; see `check`."""
    stored.require()
    contract, session = CONTRACTS[stored.role], open_session(stored.path)
    inputs, outputs = tuple(session.get_inputs()), tuple(session.get_outputs())
    contract.require_tensors(stored.path, inputs, outputs)
    answers = run_probes(stored.path, session, contract)
    contract.require_answers(stored.name, answers)
    if contract.form is TOKENS:
        _check_tokenizer(stored.path, session, contract)
    default = stored.default if stored.state is not State.CUSTOM else None
    return Checked(stored, compare(default, answers) if default is not None else {}, inputs, outputs)


def run_probes(path: Path, session: Any, contract: Contract) -> Answers:
    """Runs a model whose tensors fit the contract on two images at its own input size, or on two rows of tokens."""
    names, shape = list(contract.outputs), session.get_inputs()[0].shape
    inputs = token_probes(shape[1]) if contract.form is TOKENS else image_probes(shape[1], shape[2])
    try:
        answers = session.run(names, {contract.input: inputs})
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: fails for the inputs of the check ({reason})") from error
    return dict(zip(names, answers, strict=True))


def _check_tokenizer(path: Path, session: Any, contract: Contract) -> None:
    """Raises `ModelError` unless the tokenizer next to a text encoder makes ids that the model takes."""
    tokenizer = TextTokenizer.read(path.with_name(FILE), session.get_inputs()[0].shape[1])
    try:
        tokens = tokenizer.encode(_SAMPLE_TEXT)
    except NoTokensError:
        tokens = None
    if tokens is None or len(tokens) != tokenizer.length:
        raise ModelError(f"{path.with_name(FILE)}: does not make {tokenizer.length} token ids of a short text")
    try:
        session.run(list(contract.outputs), {contract.input: tokens[None]})
    except Exception as error:
        raise ModelError(
            f"{path}: fails for token ids of the tokenizer next to it, which belongs to another model; "
            f"{str(error).splitlines()[0]}"
        ) from error


def image_probes(height: int, width: int) -> Array:
    """The two images of the check, uint8 [2, height, width, 3]."""
    return np.ascontiguousarray(probes(max(height, width))[:, :height, :width])


def token_probes(length: int) -> Array:
    """Two rows of token ids, int64 [2, length], which every vocabulary of at least `length` tokens has."""
    ascending = np.arange(length, dtype=np.int64)
    return np.stack([ascending, ascending[::-1]])


def compare(model: DefaultModel, answers: Answers) -> dict[str, float]:
    """Compares a model's answers to both images with the stored references.

    Returns:
        The largest difference by output name.

    Raises:
        ModelError: a difference above its tolerance.
    """
    reference = _references(model.name)
    if not reference:
        # Ready networks with nodes around them: the digest says all, and tests compare them with the networks alone.
        return {}
    if "EMBEDDINGS" in reference:
        measured = {"EMBEDDINGS": largest(answers["EMBEDDINGS"], reference["EMBEDDINGS"])}
    else:
        measured = compare_detections(answers, reference)
    allowed = {"EMBEDDINGS": EMBEDDING_TOLERANCE, "SCORES": SCORE_TOLERANCE, "BOXES": BOX_TOLERANCE}
    for name, difference in measured.items():
        if not difference <= allowed[name]:
            raise ModelError(
                f"{model.folder}: {name} is {difference:.2g} away from the reference, allowed {allowed[name]}"
            )
    return measured


def compare_detections(answers: Answers, reference: Answers) -> dict[str, float]:
    """The largest difference of scores, and of the boxes of clear ones to the nearest box of their label."""
    images = range(len(reference["SCORES"]))
    boxes = [_nearest_boxes({k: v[i] for k, v in answers.items()}, reference, i) for i in images]
    return {"SCORES": largest(answers["SCORES"], reference["SCORES"]), "BOXES": max(boxes)}


def _nearest_boxes(answer: Answers, reference: Answers, image: int) -> float:
    """Largest distance from a clear reference box to the nearest box of its label, infinite when there is none."""
    worst = 0.0
    for index in np.flatnonzero(reference["SCORES"][image] >= CLEAR_SCORE):
        same = answer["BOXES"][answer["LABELS"] == reference["LABELS"][image, index]]
        distances = np.abs(same - reference["BOXES"][image, index]).max(axis=1, initial=0.0)
        worst = max(worst, float(distances.min(initial=np.inf)))
    return worst


def largest(found: Array, expected: Array) -> float:
    """The largest difference of two arrays, infinite where their shapes differ."""
    return float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")


def _references(name: str) -> dict[str, Array]:
    data = files("sightline_models").joinpath("references.npz").read_bytes()
    with np.load(io.BytesIO(data)) as archive:
        return {key.partition("/")[2]: archive[key] for key in archive.files if key.startswith(f"{name}/")}


def open_session(path: Path, threads: int = 0) -> Any:
    """A session on the CPU with so many threads; 0 is one a core.

    Raises `ModelError` where ONNX Runtime is missing or cannot load the file.
    """
    try:
        from sightline_models.onnx_runtime import onnxruntime
    except ImportError as error:
        raise ModelError('onnxruntime is missing, which runs the check; pip install "sightline[cpu]"') from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: ONNX Runtime cannot load it ({reason})") from error
