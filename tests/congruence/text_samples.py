"""Makes `tests/data/exported/texts/*.npz`: small text towers that PyTorch exported, their tokenizers, and its answers.

    make models-reference

Run once when a family is added, never in tests. Each is the text part of a model of two towers with the architecture of
its family in `transformers`, some ten thousand random weights and no training. `NAME.npz` is made without Sightline, as
an operator would export it; `command/NAME.npz` is what `sightline models export --text` writes for the same folder.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from typer.testing import CliRunner

from sightline_server.cli.models import app
from tests.congruence.command_samples import processor, square
from tests.congruence.exported_samples import CLIP, HALF, OUTPUT, define_operators, randomize
from tests.support.tiny_models import build_repository

FOLDER = OUTPUT / "texts"
DIMENSION = 12
LENGTH = 64
TEXTS = ("a blue chair", "A Blue chair, 80 x 45 cm", "ein grüner Sessel", "cup", "cup 🫖 with rim")
SMALL = {"hidden_size": DIMENSION, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


@dataclass
class Family:
    """A model of two towers, its tokenizer and processor, and how its text tower is exported and adopted."""

    name: str
    network: Any
    tokenizer: Tokenizer
    special: dict[str, str]
    processor: Any
    tower: str
    inputs: Sequence[str]
    output: str
    options: Sequence[str]
    lowercase: bool


def byte_tokens() -> dict[str, int]:
    """A vocabulary of all bytes, as byte-level tokenizers write them, after three tokens around texts."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return {token: number for number, token in enumerate(("<pad>", "<|startoftext|>", "<|endoftext|>", *letters))}


def clip_tokenizer() -> Tokenizer:
    """In the form of CLIP's: lower case, bytes, a token before and after a text; it fills up with the last."""
    inner = Tokenizer(models.BPE(byte_tokens(), [], fuse_unk=False))
    inner.add_special_tokens(["<pad>", "<|startoftext|>", "<|endoftext|>"])
    inner.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    around = [("<|startoftext|>", 1), ("<|endoftext|>", 2)]
    inner.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=around
    )
    return inner


def gemma_tokenizer() -> Tokenizer:
    """In the form of SigLIP2's: letter case counts, and only a token after a text; it fills up with another one."""
    inner = Tokenizer(models.BPE(byte_tokens(), [], fuse_unk=False))
    inner.add_special_tokens(["<pad>", "<|startoftext|>", "<|endoftext|>"])
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 2)]
    )
    return inner


def families() -> list[Family]:
    """The families that `docs/guide/text.md` names."""
    words = {"vocab_size": len(byte_tokens()), "max_position_embeddings": LENGTH}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    clip = transformers.CLIPConfig(
        text_config={**SMALL, **words, **ids, "eos_token_id": 2, "projection_dim": DIMENSION},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8, "projection_dim": DIMENSION},
        projection_dim=DIMENSION,
    )

    siglip = transformers.SiglipConfig(
        text_config={**SMALL, **words, **ids, "projection_size": DIMENSION},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
    )
    return [
        Family(
            name="clip",
            network=transformers.CLIPModel(clip),
            tokenizer=clip_tokenizer(),
            special={"pad_token": "<|endoftext|>", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"},
            processor=processor(CLIP, 3, do_center_crop=True, crop_size=square(32), size={"shortest_edge": 32}),
            tower="CLIPTextModelWithProjection",
            inputs=["input_ids", "attention_mask"],
            output="text_embeds",
            options=["--pad-token", "<|endoftext|>"],
            lowercase=False,
        ),
        Family(
            name="siglip2",
            network=transformers.SiglipModel(siglip),
            tokenizer=gemma_tokenizer(),
            special={"pad_token": "<pad>", "eos_token": "<|endoftext|>"},
            processor=processor(HALF, 2, size=square(32)),
            tower="SiglipTextModel",
            inputs=["input_ids"],
            output="pooler_output",
            options=["--lowercase"],
            lowercase=True,
        ),
    ]


class Picked(torch.nn.Module):
    """A text tower with one plain tensor as output."""

    def __init__(self, network: Any, family: Family) -> None:
        super().__init__()
        self.network, self._family = network, family

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network(**dict(zip(self._family.inputs, inputs, strict=True)))[self._family.output]
        return found


def save(family: Family, folder: Path) -> Any:
    """Writes model, tokenizer and processor as their library does; returns the tokenizer."""
    family.network.save_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=family.tokenizer, **family.special)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(family.processor))
    return tokenizer


def plain(family: Family, folder: Path, tokenizer: Any) -> dict[str, Any]:
    """The export of an operator: the tower, the tokenizer's file, and transformers' and PyTorch's answers."""
    tower = getattr(transformers, family.tower).from_pretrained(folder, attn_implementation="eager").eval()
    module, file = Picked(tower, family).eval(), io.BytesIO()
    texts = [text.lower() for text in TEXTS] if family.lowercase else list(TEXTS)
    asked = tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    inputs = tuple(asked[name] for name in family.inputs)
    axes = {name: {0: "batch"} for name in (*family.inputs, family.output)}
    torch.onnx.export(
        module,
        inputs,
        file,
        dynamo=False,
        opset_version=17,
        input_names=list(family.inputs),
        output_names=[family.output],
        dynamic_axes=axes,
    )
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(module(*inputs), dim=1)
    options = ["--length", str(LENGTH), *family.options]
    return {
        "model": np.frombuffer(file.getvalue(), np.uint8),
        "tokenizer": np.frombuffer((folder / "tokenizer.json").read_bytes(), np.uint8),
        "texts": np.array(TEXTS),
        "tokens": np.array(asked["input_ids"].tolist(), np.int64),
        "options": np.array(options),
        "EMBEDDINGS": np.array(vectors.tolist(), np.float32),
    }


def by_command(family: Family, folder: Path) -> dict[str, Any]:
    """The files that the command writes."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = build_repository(Path(temporary) / "repository")
        options = ["--role", "embedder", "--text", "--name", "x", "--repository", str(repository)]
        done = CliRunner().invoke(app, ["export", str(folder), *options])
        if done.exit_code != 0:
            raise SystemExit(f"{family.name}: {done.stderr} {done.exception!r}")
        print(done.stdout.rstrip())
        found = repository / "text_encoder-x" / "1"
        return {
            "model": np.frombuffer((found / "model.onnx").read_bytes(), np.uint8),
            "tokenizer": np.frombuffer((found / "tokenizer.json").read_bytes(), np.uint8),
        }


def main() -> None:
    """Writes both files for each family."""
    operators = define_operators()
    (FOLDER / "command").mkdir(parents=True, exist_ok=True)
    for seed, family in enumerate(families()):
        torch.manual_seed(seed)
        randomize(family.network, 100 + seed)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / family.name
            tokenizer = save(family, folder)
            parts = ((FOLDER, plain(family, folder, tokenizer)), (FOLDER / "command", by_command(family, folder)))
            for place, arrays in parts:
                path = place / f"{family.name}.npz"
                np.savez_compressed(path, **arrays)
                print(f"{path.relative_to(OUTPUT)}: {path.stat().st_size / 1000:.0f} kB")
    del operators


if __name__ == "__main__":
    main()
