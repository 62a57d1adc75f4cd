"""A text encoder on the real Triton: it answers as its tower, belongs to its embedder, and is searched with."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from load_tests.observe.scrapes import scrape
from sightline_client import Box, Client, ClientOptions, FailedPreconditionError
from sightline_client.local_server import LocalServer
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.sources import sha256_of
from sightline_models.tokenizer import FILE
from sightline_server.cli.models import app
from sightline_server.domain.models import EMBEDDER, EmbedderSpec, Role, TextEncoderSpec
from sightline_server.errors import SightlineError
from sightline_server.triton.specs import search_models
from sightline_server.triton.stored import read_stored
from tests.support.catalogs import row, write_catalog
from tests.support.embedded import running_engine
from tests.support.pictures import noise
from tests.support.texts import LENGTH, expected_vectors, ids_of, text_tower, tokenizer_json
from tests.support.tiny_models import build_repository, declare_models, expected_embeddings
from tests.support.world import RunningServer, environment

pytestmark = [pytest.mark.engine]
TEXT = Role[TextEncoderSpec]("text_encoder")
MODELS = search_models((), [TEXT])
ROLES = tuple(model.role for model in MODELS)
TEXTS = ("a blue chair", "red cup", "cup with gold rim")
PLANTED = "aspidistra"


def with_text_encoder(folder: Path) -> Path:
    """A repository of the tiny models with a text encoder that the command has adopted."""
    repository = build_repository(folder / "repository")
    declare_models(repository)
    file, tokenizer = folder / "text.onnx", folder / FILE
    file.write_bytes(text_tower(mask=True).SerializeToString())
    tokenizer.write_bytes(tokenizer_json())
    own = ["--embedder", "embedder", "--tokenizer", str(tokenizer), "--length", str(LENGTH), "--output", "text_embeds"]
    arguments = ["adopt", str(file), "--role", "text_encoder", *own, "--repository", str(repository)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    return repository


def rows_of(texts: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The token ids of the texts, and the tower's vectors of them."""
    tokens = ids_of(texts)
    counted = np.arange(LENGTH) < np.array([[len(text.split()) + 1] for text in texts])
    return tokens, expected_vectors(tokens, counted)


async def test_a_text_encoder_answers_as_its_tower(tmp_path: Path) -> None:
    repository = with_text_encoder(tmp_path)
    async with running_engine(repository, models=MODELS, roles=ROLES) as embedded:
        engine = embedded.engine
        (served,) = engine.text_encoders.values()
        assert (served.role, served.spec.length, served.spec.dimension) == (TEXT, LENGTH, 8)
        assert list(engine.text_encoders) == [engine.spec(EMBEDDER).identity]
        assert embedded.engine.transports[TEXT] == "inline"
        tokens, expected = rows_of(TEXTS)
        for count in (1, 3):
            answer = await engine.runner(TEXT).infer({"TOKENS": list(tokens[:count])}, deadline=None)
            np.testing.assert_allclose(answer["EMBEDDINGS"], expected[:count], rtol=0, atol=1e-6)


async def test_a_text_encoder_of_another_embedder_ends_the_start(tmp_path: Path) -> None:
    repository = with_text_encoder(tmp_path)
    config = repository / TEXT / "config.pbtxt"
    digest = sha256_of(repository / "embedder" / "1" / "model.onnx")
    config.write_text(config.read_text().replace(digest, "0" * 64))
    with pytest.raises(SightlineError, match="the text encoder text_encoder belongs to tiny embedder@000000000000"):
        async with running_engine(repository, models=MODELS, roles=ROLES):
            pass


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_text_encoder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def server(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server on a catalog with a product on each axis of its vectors."""
    folder = tmp_path_factory.mktemp("served")
    path = repository / "embedder" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(str(path))
    model = next(each for each in MODELS if each.role == EMBEDDER)
    config = repository / "embedder" / "config.pbtxt"
    read = read_stored(model, config, session.get_inputs(), session.get_outputs())
    spec = EmbedderSpec(**{**{name: getattr(read, name) for name in read.__slots__}, "sha256": sha256_of(path)})
    axes = np.eye(8, dtype=np.float32)
    write_catalog(folder / "catalog", [row(f"axis-{n}", axes[n][None]) for n in range(8)], spec)
    variables = {
        "SIGHTLINE_ENGINE__REPOSITORY": str(repository),
        "SIGHTLINE_SERVER__WORKERS": request.param,
        "SIGHTLINE_LOG__LEVEL": "DEBUG",
    }
    log = folder / "log"
    process = LocalServer(catalog=folder / "catalog", env=environment(**variables), log=log, start_timeout_s=90)
    with process:
        yield RunningServer(process, log)


def pixels() -> np.ndarray:
    """Noise without red, in which the tiny detector finds no person."""
    found = noise(32, 32, seed=4).copy()
    found[:, :, 0] = 0
    return found


def photo() -> bytes:
    file = BytesIO()
    Image.fromarray(pixels()).save(file, "PNG")
    return file.getvalue()


def test_a_search_finds_what_image_and_text_say_together(server: RunningServer) -> None:
    image = expected_embeddings(pixels()[None])[0]
    _, (text,) = rows_of(TEXTS[:1])
    with Client(ClientOptions(server.target, timeout_s=20)) as client:
        for weight in (0.25, 1.0):
            answer = client.find(photo(), regions=[Box.whole()], text=TEXTS[0], text_weight=weight, max_products=8)
            total = (1 - weight) * image.astype(np.float64) + weight * text
            expected = total / np.linalg.norm(total)
            found = {each.product.id: each.similarity for each in answer.objects[0].products}
            assert answer.done is not None and answer.done.text_weight == weight
            similarities = [found[f"axis-{n}"] for n in range(8) if f"axis-{n}" in found]
            wanted = [expected[n] for n in range(8) if f"axis-{n}" in found]
            assert len(wanted) >= 4
            np.testing.assert_allclose(similarities, wanted, rtol=0, atol=1e-5)
        info = client.server_info().catalog()
        assert info is not None and info.text_encoder is not None
        assert info.text_encoder.id.startswith("tiny embedder-text@")
    figures = scrape(server.process.metrics_url)
    assert figures.sum("sightline_batch_size_count", batcher="texts") >= 2


def test_the_command_searches_with_a_text(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(photo())
    sightline = str(Path(sys.executable).with_name("sightline"))
    command = [sightline, "search", str(tmp_path / "photo.png"), "--target", server.target, "--box", "0,0,1,1"]
    words = ["--text", f"{PLANTED} cup", "--text-weight", "1"]
    done = subprocess.run(
        [*command, *words, "--json"], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["done"]["textWeight"] == 1
    assert PLANTED not in done.stdout
    refused = subprocess.run(
        [*command, "--text", f"{PLANTED} " * LENGTH], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert refused.returncode == 1 and "text: more than 8 tokens" in refused.stderr
    assert PLANTED not in refused.stderr and PLANTED not in server.log.read_text()


def test_a_server_without_text_encoders_refuses_texts(repository: Path, server: RunningServer) -> None:
    """The setting leaves a text encoder of the repository out."""
    catalog = server.log.with_name("catalog")
    variables = {"SIGHTLINE_ENGINE__REPOSITORY": str(repository), "SIGHTLINE_ENGINE__TEXT_ENCODERS": "[]"}
    log = server.log.with_name("without.log")
    with LocalServer(catalog=catalog, env=environment(**variables), log=log, start_timeout_s=90) as process:
        with Client(process.target) as client, pytest.raises(FailedPreconditionError) as refused:
            client.find(photo(), text=PLANTED)
        assert refused.value.reason == "TEXT_NOT_SUPPORTED"
    assert PLANTED not in log.read_text()
