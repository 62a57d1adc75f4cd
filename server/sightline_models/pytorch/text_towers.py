"""Text towers of transformers, with their tokenizers.

Place in the flow: `ExportSource` -> `LoadedTextTower`. The one rule: the tokenizer that is written makes the ids that
transformers makes, which is compared here; a model without a separate tokenizer file is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from sightline_models.errors import ModelError
from sightline_models.export_source import ExportSource
from sightline_models.pytorch.from_transformers import config_of, load_network, require_weights, revision_of
from sightline_models.pytorch.loading import loading
from sightline_models.pytorch.modules import LoadedTextTower
from sightline_models.tokenizer import FILE, TextTokenizer

_TEXT_TOWERS: Mapping[str, str] = {"clip": "CLIPTextModelWithProjection", "siglip": "SiglipTextModel"}
"""The class of the text tower of a model of images and texts, by type. Fixed-size SigLIP2 has the type `siglip`."""
_LOWER_CASE = frozenset({"siglip"})
"""Types that were trained on lower-case texts, which their tokenizer in transformers does not make."""
SAMPLES = (
    "a chair",
    "A Blue Chair, 80 x 45 cm",
    "ein grüner Sessel für unter 50 €",
    "Ένα ΜΠΛΕ φλιτζάνι",
    "word " * 200,
)
"""Texts whose ids are compared; the last one is longer than any tower takes."""


def load_text_tower(source: ExportSource) -> LoadedTextTower:
    """Loads the text tower of a model of images and texts.

    Raises:
        ModelError: a model without texts or of a type that is not known here, weights that are missing, or a tokenizer
            that cannot be written as a separate file.
    """
    config = config_of(source)
    name = _TEXT_TOWERS.get(config.model_type)
    if name is None:
        raise ModelError(
            f"{source.text}: is a {config.model_type} model; text towers are exported of {', '.join(_TEXT_TOWERS)}; "
            "export another one to ONNX and use `sightline models adopt --role text_encoder`"
        )
    with loading(source):
        family = getattr(transformers, name)
    network, missing = load_network(source, family)
    require_weights(source, missing)
    length = int(config.text_config.max_position_embeddings)
    tokenizer = _tokenizer(source, length, lowercase=config.model_type in _LOWER_CASE)
    return LoadedTextTower(network, partial(_vector, network), tokenizer)


def _tokenizer(source: ExportSource, length: int, *, lowercase: bool) -> TextTokenizer:
    with loading(source):
        theirs = transformers.AutoTokenizer.from_pretrained(source.id, trust_remote_code=False, **revision_of(source))
    inner = getattr(theirs, "backend_tokenizer", None)
    if inner is None:
        raise ModelError(
            f"{source.text}: its tokenizer has no tokenizer.json; export the text tower to ONNX, make that file with "
            "`save_pretrained` of a fast tokenizer, and use `sightline models adopt --role text_encoder`"
        )
    ours = TextTokenizer.prepare(
        Path(source.text) / FILE,
        inner.to_str().encode(),
        length,
        lowercase=lowercase,
        pad_token=theirs.pad_token,
    )
    for text in SAMPLES[:-1]:
        asked = text.lower() if lowercase else text
        expected = theirs(asked, padding="max_length", truncation=True, max_length=length)["input_ids"]
        found = ours.encode(text)
        if found is None or not np.array_equal(found, expected):
            raise ModelError(
                f"{source.text}: the tokenizer makes other ids than transformers does, so texts would be misread; "
                "report the model, and use `sightline models adopt --role text_encoder` with ids that you compared"
            )
    if ours.encode(SAMPLES[-1]) is not None:
        raise ModelError(f"{source.text}: the tokenizer does not notice texts of more than {length} tokens")
    return ours


def _vector(network: Any, tokens: torch.Tensor) -> torch.Tensor:
    """One vector [B, D] for each text: the projected one of CLIP, the pooled one of SigLIP."""
    found = network(input_ids=tokens)
    vector = found.get("text_embeds")
    return (found.pooler_output if vector is None else vector).flatten(1)
