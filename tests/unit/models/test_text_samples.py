"""Text towers of PyTorch through both routes: the ids of transformers, and the answers of PyTorch."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sightline_models.adopting_text import add_text_encoder
from sightline_models.tokenizer import FILE, TextTokenizer
from sightline_server.cli.models import app
from sightline_server.cli.models_configuration import check_folder
from tests.support.adopted import answers
from tests.support.tiny_models import build_repository, declare_models, echo_embedder, write_model

FOLDER = Path(__file__).resolve().parents[2] / "data" / "exported" / "texts"
NAMES = ("clip", "siglip2")
LENGTH = 64


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with an embedder of twelve numbers, as the towers have them."""
    folder = build_repository(tmp_path / "repository")
    write_model(folder, "embedder-x", echo_embedder(2), {"preprocess": {"resize": "squash"}}, max_batch_size=8)
    declare_models(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_an_adopted_text_tower_answers_as_pytorch(repository: Path, name: str) -> None:
    with np.load(FOLDER / f"{name}.npz") as archive:
        stored = {key: archive[key] for key in archive.files}
    file, tokenizer = repository.parent / "text.onnx", repository.parent / FILE
    file.write_bytes(stored["model"].tobytes())
    tokenizer.write_bytes(stored["tokenizer"].tobytes())
    own = ["--embedder", "embedder-x", "--tokenizer", str(tokenizer), "--repository", str(repository)]
    arguments = ["adopt", str(file), "--role", "text_encoder", *own, *map(str, stored["options"])]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    compare(repository, name)


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_text_tower_answers_as_pytorch(repository: Path, name: str) -> None:
    with np.load(FOLDER / "command" / f"{name}.npz") as archive:
        content, tokenizer = archive["model"].tobytes(), archive["tokenizer"].tobytes()
    add_text_encoder(repository, "embedder-x", Path(name), content, tokenizer, check_folder)
    compare(repository, name)


def compare(repository: Path, name: str) -> None:
    """Compares ids and vectors of the text encoder of `embedder-x` with the stored ones."""
    with np.load(FOLDER / f"{name}.npz") as archive:
        texts, tokens, expected = (archive[key] for key in ("texts", "tokens", "EMBEDDINGS"))
    read = TextTokenizer.read(repository / "text_encoder-x" / "1" / FILE, LENGTH)
    encoded = [read.encode(str(text)) for text in texts]
    short = [each for each in encoded if each is not None]
    kept = [number for number, each in enumerate(encoded) if each is not None]
    assert len(kept) == len(texts)
    np.testing.assert_array_equal(short, tokens[kept])
    found = answers(repository, "text_encoder-x", tokens)["EMBEDDINGS"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
