"""A network of the contract as one ONNX file, compared with PyTorch.

Place in the flow: `EmbedderModule` or `DetectorModule` -> bytes of the file. The one rule: a file whose answers are not
those of PyTorch is not written; it is run on images that are not in the trace, in batches of other sizes.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from sightline_models.adoption import Size
from sightline_models.check import compare_detections, largest, open_session, token_probes
from sightline_models.contract import CONTRACTS
from sightline_models.errors import ModelError
from sightline_models.graph import IR_VERSION, OPSET
from sightline_models.images import probes
from sightline_models.tokenizer import TextTokenizer

TRACED_BATCH = 2
BATCHES = (1, 3)
"""Sizes of the batches that are compared; a batch that became fixed in the trace fails in both."""
MOST_BYTES = 2_000_000_000
"""An ONNX file with its weights inside cannot be larger."""

MOST_ROUNDING = 1e-3
_ROUNDING = "where that is rounding of a deep network, allow it with --tolerance"
_WRONG = (
    "that is more than rounding: the export is wrong, or it is a detector with untrained weights, of which rounding "
    "chooses the rows"
)

Answers = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Three inputs of the contract that are compared, and a batch that is traced; `words` and `advice` are for errors.

    Images are uint8 [B, H, W, 3], texts token ids int64 [B, length].
    """

    compared: npt.NDArray[Any]
    traced: npt.NDArray[Any]
    words: str
    advice: str


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """The bytes of a file, and the largest difference from PyTorch's answers by output."""

    content: bytes
    differences: Mapping[str, float]


def export(
    source: str, module: torch.nn.Module, role: str, inputs: Inputs, tolerance: float, metadata: Mapping[str, str]
) -> ExportedFile:
    """Exports a network and compares the file with it.

    Args:
        source: name of the model, for messages.
        module: of the contract of `role`, in evaluation mode.
        inputs: those that are compared.
        tolerance: the largest difference of a number of an embedding, of a score or of a box's edge. Boxes of one label
            are compared as sets, those of a score below `check.CLEAR_SCORE` by their score only.
        metadata: becomes the file's `metadata_props`.

    Raises:
        ModelError: a network that cannot be run or exported, that is too large, or whose file answers otherwise.
    """
    _require_small(source, module)
    compared = inputs.compared
    names = tuple(CONTRACTS[role].outputs)
    expected = {count: _answers(source, module, names, compared[:count], inputs) for count in BATCHES}
    content = _finished(_traced(source, module, role, inputs), expected[BATCHES[0]], metadata)
    return ExportedFile(content, _compared(source, content, role, compared, expected, tolerance))


def image_inputs(size: Size) -> Inputs:
    """Images: those of `models check` and one of them upside down; noise is traced."""
    height, width = size
    noise, drawing = probes(max(height, width))[:, :height, :width]
    compared = np.ascontiguousarray(np.stack([drawing, noise, drawing[::-1]]))
    traced = np.random.default_rng(1).integers(0, 256, (TRACED_BATCH, *size, 3), np.uint8)
    return Inputs(
        compared, traced, f"an image of {height} x {width}", "state the size that it was trained with by --size"
    )


def text_inputs(tokenizer: TextTokenizer) -> Inputs:
    """Texts: a short one, one of a single word and one that is as long as it may be; rows of ids are traced."""
    texts, length = ["a blue chair", "Cup"], tokenizer.length
    rows = [row for row in map(tokenizer.encode, texts) if row is not None]
    longest = np.where(rows[0] == tokenizer.pad_id, rows[1][min(1, length - 1)], rows[0])
    longest[-1] = rows[0][rows[0] != tokenizer.pad_id][-1]
    compared = np.stack([*rows, longest])
    return Inputs(compared, token_probes(length), f"texts of {length} tokens", "the model cannot be exported as it is")


def _require_small(source: str, module: torch.nn.Module) -> None:
    size = sum(4 * each.numel() for each in (*module.parameters(), *module.buffers()))
    if size > MOST_BYTES:
        raise ModelError(
            f"{source}: its weights have {size / 1e9:.1f} GB in float32, and an ONNX file holds at most "
            f"{MOST_BYTES / 1e9:.0f} GB; choose a smaller model of the family"
        )


def _answers(
    source: str, module: torch.nn.Module, names: Sequence[str], batch: npt.NDArray[Any], inputs: Inputs
) -> Answers:
    """PyTorch's own answers by output."""
    try:
        with torch.no_grad():
            found = module(torch.from_numpy(batch))
    except ModelError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{source}: fails for {inputs.words} ({reason}); {inputs.advice}") from error
    tensors = found if isinstance(found, tuple) else (found,)
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}


def _traced(source: str, module: torch.nn.Module, role: str, inputs: Inputs) -> onnx.ModelProto:
    contract, file = CONTRACTS[role], io.BytesIO()
    names = [contract.input, *contract.outputs]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Of the tracer, about values that become constants; the comparison finds the ones that matter.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (torch.from_numpy(inputs.traced),),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=names[:1],
                output_names=names[1:],
                dynamic_axes={name: {0: "batch"} for name in names},
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{source}: PyTorch cannot export it with opset {OPSET} ({reason})") from error
    return onnx.load_model_from_string(file.getvalue())


def _finished(model: onnx.ModelProto, answers: Answers, metadata: Mapping[str, str]) -> bytes:
    """The file with the shapes of the real answers, which the exporter states loosely, and with `metadata`."""
    model.ir_version = min(model.ir_version, IR_VERSION)
    for output in model.graph.output:
        shape = output.type.tensor_type.shape
        del shape.dim[:]
        shape.dim.add(dim_param="batch")
        for edge in answers[output.name].shape[1:]:
            shape.dim.add(dim_value=edge)
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=metadata[key])
    return model.SerializeToString(deterministic=True)


def _compared(
    source: str,
    content: bytes,
    role: str,
    images: npt.NDArray[Any],
    expected: Mapping[int, Answers],
    tolerance: float,
) -> dict[str, float]:
    """The largest differences by output. Raises `ModelError` for one above `tolerance`."""
    contract = CONTRACTS[role]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        session = open_session(path)
        worst: dict[str, float] = {}
        for count, reference in expected.items():
            try:
                found = session.run(list(contract.outputs), {contract.input: images[:count]})
            except Exception as error:
                reason = str(error).strip().splitlines()[0]
                raise ModelError(f"{source}: the exported file fails for a batch of {count} ({reason})") from error
            answers = dict(zip(contract.outputs, found, strict=True))
            contract.require_answers(source, answers)
            for name, difference in _differences(answers, reference).items():
                worst[name] = max(worst.get(name, 0.0), difference)
    for name, difference in worst.items():
        if not difference <= tolerance:
            raise ModelError(
                f"{source}: {name} of the exported file is {difference:.2g} away from PyTorch's, allowed "
                f"{tolerance:g}; {_ROUNDING if difference <= MOST_ROUNDING else _WRONG}"
            )
    return worst


def _differences(answers: Answers, reference: Answers) -> dict[str, float]:
    if "EMBEDDINGS" in reference:
        return {"EMBEDDINGS": largest(answers["EMBEDDINGS"], reference["EMBEDDINGS"])}
    return compare_detections(answers, reference)
