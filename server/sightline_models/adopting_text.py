"""A text encoder as a model of the repository, next to the embedder that it belongs to.

Place in the flow: file in the contract and tokenizer -> a folder aside, checked -> `<repository>/text_encoder-NAME`.
The one rule: the configuration names the embedder's file by its SHA-256, because the vectors of texts and images can be
compared only where both towers were trained together.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from sightline_models.adding import Check, require, set_aside
from sightline_models.adopted_text import read_exported_text, wrap_text
from sightline_models.check import Checked, check_one
from sightline_models.configuration import parameter_lines
from sightline_models.defaults import by_folder
from sightline_models.embedders import FIRST, FOLDER, text_folder_of
from sightline_models.store import StoredModel, inspect, inspect_embedder, model_path, write_config, write_declared
from sightline_models.tokenizer import FILE, TextTokenizer

_CONFIG = """\
# A text encoder: TOKENS INT64 [B,L] -> EMBEDDINGS FP32 [B,D]. Names, types and sizes of the tensors come from the ONNX
# file. `embedder` is the embedder whose vectors its own can be compared with; docs/guide/text.md explains it.
backend: "onnxruntime"
max_batch_size: 64

# A GPU where Triton sees one, else the CPU.
instance_group [ { count: 1 kind: KIND_AUTO } ]

dynamic_batching { max_queue_delay_microseconds: 0 }

# Threads of one call on the CPU; 0 is all cores, joined for a text that is alone, shared by the texts of a batch.
parameters { key: "intra_op_thread_count" value { string_value: "0" } }

"""


def adopt_text_encoder(
    repository: Path,
    embedder: str,
    onnx: Path,
    tokenizer: Path,
    check: Check,
    *,
    output: str | None,
    length: int,
    lowercase: bool,
    pad_token: str | None,
) -> Path:
    """Wraps an exported text tower and adds it as the text encoder of an embedder; returns its folder.

    Args:
        embedder: folder of the embedder with the image tower of the same training.
        tokenizer: the `tokenizer.json` of the model.
        output: name of the output with a vector for each text; None is the only one.
        length, lowercase, pad_token: see `TextTokenizer.prepare`.

    Raises:
        ModelError: no such embedder, or one that has a text encoder; as `read_exported_text`, `wrap_text` and
            `TextTokenizer.prepare`; vectors of another dimension; what `check` raises.
    """
    free_text_folder(repository, embedder)
    require(tokenizer.is_file(), f"no such file: {tokenizer}")
    prepared = TextTokenizer.prepare(
        tokenizer, tokenizer.read_bytes(), length, lowercase=lowercase, pad_token=pad_token
    )
    wrapped = wrap_text(read_exported_text(onnx, length), prepared, output)
    return add_text_encoder(repository, embedder, onnx, wrapped, prepared.serialize(), check)


def free_text_folder(repository: Path, embedder: str) -> str:
    """The name of the folder of an embedder's text encoder. Raises ModelError where it cannot be used or is taken."""
    fits = embedder == FIRST or FOLDER.fullmatch(embedder) is not None
    require(fits, f"{embedder!r} cannot be the folder of an embedder; expected {FIRST} or {FIRST}-NAME")
    require((repository / embedder).is_dir(), f"{repository / embedder}: no such embedder; add its image tower first")
    folder = text_folder_of(embedder)
    require(not os.path.lexists(repository / folder), f"{repository / folder} is there already; remove it first")
    return folder


def add_text_encoder(
    repository: Path, embedder: str, origin: Path, content: bytes, tokenizer: bytes, check: Check
) -> Path:
    """Adds a text encoder that keeps the contract; returns its folder.

    Args:
        embedder: folder of the embedder that it belongs to.
        origin: the file that errors name.
        tokenizer: content of `tokenizer.json`, with padding and truncation.

    Raises:
        ModelError: see `adopt_text_encoder`.
    """
    folder = free_text_folder(repository, embedder)
    image = stored_embedder(repository, embedder)
    checked = check_one(image)
    config = _CONFIG + parameter_lines(
        {
            "name": f"{image.name}-text",
            "embedder": json.dumps({"name": image.name, "sha256": image.found}),
            "tokenizer_sha256": hashlib.sha256(tokenizer).hexdigest(),
        }
    )
    declaration = {"name": f"{image.name}-text", "version": "1", "sha256": hashlib.sha256(content).hexdigest()}
    with set_aside(repository, folder, origin) as aside:
        place = model_path(aside, folder)
        place.parent.mkdir(parents=True)
        place.with_name(FILE).write_bytes(tokenizer)
        write_config(aside, folder, config)
        write_declared(aside, folder, declaration, content)
        text = check_one(inspect_embedder(aside, folder))
        dimensions = [_dimension(each) for each in (checked, text)]
        require(
            dimensions[0] == dimensions[1],
            f"{origin}: its vectors have {dimensions[1]} numbers, and those of {image.name} in {embedder} have "
            f"{dimensions[0]}; it is the text part of another model",
        )
        check(aside, folder)
        os.replace(aside / folder, repository / folder)
    return repository / folder


def stored_embedder(repository: Path, folder: str) -> StoredModel:
    """The embedder in a folder as it is stored. Raises `ModelError`."""
    return inspect(repository, by_folder(folder)) if folder == FIRST else inspect_embedder(repository, folder)


def _dimension(checked: Checked) -> int | str | None:
    """The numbers of a vector."""
    return next(each.shape[1] for each in checked.outputs if each.name == "EMBEDDINGS")
