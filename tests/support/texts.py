"""A tiny tokenizer, and text towers as exporters write them, with numpy's own answers.

A token's vector is a row of `VECTORS`; the tower gives the mean of the vectors of a text's tokens, or of all rows where
it has no attention mask.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sightline_models.tokenizer import FILE, TextTokenizer
from tests.support.tiny_models import EMBEDDER_DIMENSION

LENGTH = 8
WORDS = ("<pad>", "<unk>", "<eos>", "a", "blue", "red", "chair", "cup", "with", "gold", "rim", "STEEL")
VOCABULARY = {word: number for number, word in enumerate(WORDS)}
VECTORS: NDArray[np.float32] = (
    np.random.default_rng(21).normal(0.2, 1, (len(WORDS), EMBEDDER_DIMENSION)).astype(np.float32)
)
Tokens = NDArray[np.int64]


def tokenizer_json() -> bytes:
    """A tokenizer of whole words, with a token after each text and no padding, as a training framework leaves it."""
    inner = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    inner.add_special_tokens(["<pad>", "<unk>", "<eos>"])
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 2)])
    return str(inner.to_str()).encode()


def write_tokenizer(folder: Path) -> Path:
    """Writes `tokenizer.json` with `LENGTH` tokens next to the model of a text encoder; returns its path."""
    path = folder / "1" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(prepared().serialize())
    return path


def prepared(*, lowercase: bool = False, pad_token: str | None = None, length: int = LENGTH) -> TextTokenizer:
    """The tokenizer with the length of the tower."""
    path = Path("tokenizer.json")
    return TextTokenizer.prepare(path, tokenizer_json(), length, lowercase=lowercase, pad_token=pad_token)


def text_tower(
    *, mask: bool = False, element: int = TensorProto.INT64, length: int | str = LENGTH, dimension: int | None = None
) -> onnx.ModelProto:
    """`input_ids` and, if asked for, `attention_mask` -> `text_embeds` [B, 8], and `last_hidden_state` [B, L, 8]."""
    nodes = [helper.make_node("Gather", ["vectors", "input_ids"], ["last_hidden_state"])]
    if mask:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["counts"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["counts", "last"], ["column"]),
            helper.make_node("Mul", ["last_hidden_state", "column"], ["own"]),
            helper.make_node("ReduceSum", ["own", "one"], ["text_embeds"], keepdims=0),
        ]
    else:
        nodes.append(helper.make_node("ReduceSum", ["last_hidden_state", "one"], ["text_embeds"], keepdims=0))
    names = ["input_ids", *(["attention_mask"] if mask else [])]
    inputs = [helper.make_tensor_value_info(name, element, ["batch", length]) for name in names]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("last_hidden_state", "text_embeds")
    ]
    weights: dict[str, NDArray[Any]] = {
        "vectors": VECTORS if dimension is None else VECTORS[:, :dimension],
        "one": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "text", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected_vectors(tokens: Tokens, counted: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """The tower's vectors of rows of ids at length 1; `counted` are the tokens that the mask counts."""
    rows = VECTORS[tokens].astype(np.float64)
    total = (rows if counted is None else rows * counted[..., None]).sum(axis=1)
    found: NDArray[np.float32] = (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)
    return found


def ids_of(texts: Sequence[str], tokenizer: TextTokenizer | None = None) -> Tokens:
    """The token ids int64 [B, `LENGTH`] of texts that are short enough."""
    found = [(tokenizer or prepared()).encode(text) for text in texts]
    return np.stack([each for each in found if each is not None])
