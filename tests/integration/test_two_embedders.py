"""Two embedders of different dimension on the real Triton: each answers, recovers and forgets by itself.

The echo embedder answers with the pixels that it gets, in 48 numbers; the tiny one in 8.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from load_tests.observe.scrapes import scrape
from sightline_client.local_server import LocalServer
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.sources import sha256_of
from sightline_server.domain.embedders import embedder_role
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.models import EMBEDDER, EmbedderSpec
from sightline_server.stages.crop import crop
from sightline_server.triton.connection import Connection
from sightline_server.triton.specs import search_models
from sightline_server.triton.stored import read_stored
from tests.support.catalogs import row, write_catalog
from tests.support.crew import OPTIONS
from tests.support.embedded import Embedded, running_engine
from tests.support.pictures import noise
from tests.support.tiny_models import build_repository, echo_embedder, expected_embeddings, write_model
from tests.support.world import Answer, RunningServer, asked, environment, search

pytestmark = [pytest.mark.engine]
ECHO = embedder_role("embedder-echo")
MODELS = search_models([ECHO])
ROLES = tuple(model.role for model in MODELS)
ECHO_SIZE = 4
WHOLE = {"box": {"x_min": 0.0, "y_min": 0.0, "x_max": 1.0, "y_max": 1.0}}
CONNECTIONS = 12
FORGOTTEN_WITHIN_S = 20.0
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the tiny models and the echo embedder."""
    folder = build_repository(tmp_path_factory.mktemp("models"))
    write_model(folder, ECHO, echo_embedder(ECHO_SIZE), {"preprocess": {"resize": "squash"}}, max_batch_size=64)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedded(repository: Path) -> AsyncIterator[Embedded]:
    """An engine of both embedders that overwrites its memory soon after the last call."""
    async with running_engine(repository, models=MODELS, roles=ROLES, rest_s=0.3) as running:
        yield running


async def echoed(embedded: Embedded, pixels: Pixels) -> NDArray[np.float32]:
    """The echo embedder's answers [B,48]."""
    deadline = time.monotonic() + 10
    answer = await embedded.engine.runner(ECHO).infer({"CROPS": list(pixels)}, deadline=deadline)
    found: NDArray[np.float32] = answer["EMBEDDINGS"]
    return found


async def tiny(embedded: Embedded, crops: Pixels) -> NDArray[np.float32]:
    """The first embedder's answers [B,8]."""
    deadline = time.monotonic() + 10
    answer = await embedded.engine.runner(EMBEDDER).infer({"CROPS": list(crops)}, deadline=deadline)
    found: NDArray[np.float32] = answer["EMBEDDINGS"]
    return found


def echo_of(pixels: Pixels) -> NDArray[np.float32]:
    """The expected answers of the echo embedder."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float64) + 1
    expected: NDArray[np.float32] = (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)
    return expected


def images(seed: int, count: int, size: int) -> Pixels:
    return np.stack([noise(size, size, seed=seed + n) for n in range(count)])


@pytest.mark.asyncio(loop_scope="module")
async def test_each_embedder_answers_with_its_own_dimension(embedded: Embedded) -> None:
    served = embedded.engine.embedders
    assert [(each.role, each.spec.dimension) for each in served.models] == [(EMBEDDER, 8), (ECHO, 48)]
    assert all(digest for digest in embedded.engine.digests.values()) and len(embedded.engine.digests) == 3
    assert set(embedded.events.providers) == set(embedded.engine.transports) == set(ROLES)
    small, large = images(1, 5, ECHO_SIZE), images(2, 3, 32)
    answers = await asyncio.gather(
        *(part for _ in range(4) for part in (echoed(embedded, small), tiny(embedded, large)))
    )
    for found, expected in zip(answers, [echo_of(small), expected_embeddings(large)] * 4, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_embedder_whose_process_dies_is_loaded_again_alone(embedded: Embedded) -> None:
    others = {role: embedded.stub(role) for role in ROLES if role != ECHO}
    embedded.readiness.seen.clear()
    os.kill(embedded.stub(ECHO), 9)
    await embedded.readiness.until(False, True)
    assert embedded.events.mends == ["reload"]
    assert {role: embedded.stub(role) for role in others} == others
    small = images(3, 2, ECHO_SIZE)
    np.testing.assert_allclose(await echoed(embedded, small), echo_of(small), atol=1e-6)


@pytest.mark.asyncio(loop_scope="module")
async def test_black_images_overwrite_the_memory_of_a_further_embedder(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwritten: asyncio.Queue[str] = asyncio.Queue()
    run_black = Connection.run_black

    async def noted(connection: Connection, model: str, count: int) -> None:
        await run_black(connection, model, count)
        overwritten.put_nowait(model)

    monkeypatch.setattr(Connection, "run_black", noted)
    await echoed(embedded, images(5, 7, ECHO_SIZE))
    async with asyncio.timeout(FORGOTTEN_WITHIN_S):
        while await overwritten.get() != ECHO:
            pass


def spec_of(repository: Path, role: str) -> EmbedderSpec:
    """The embedder in a folder of the repository, as the server reads it."""
    model = next(each for each in MODELS if each.role == role)
    path = repository / role / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(str(path))
    read: EmbedderSpec = read_stored(
        model, repository / role / "config.pbtxt", session.get_inputs(), session.get_outputs()
    )
    return EmbedderSpec(**{**{name: getattr(read, name) for name in read.__slots__}, "sha256": sha256_of(path)})


@pytest.fixture(scope="module")
def catalogs(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two catalogs of the same images, one for each embedder."""
    folder = tmp_path_factory.mktemp("catalogs")
    found = {}
    for name, role, embed in (("narrow", EMBEDDER, expected_embeddings), ("wide", ECHO, echo_of)):
        spec = spec_of(repository, role)
        crops = [crop(Frame(pixels), Box.whole(), spec).pixels for pixels in images(20, 6, 64)]
        rows = [row(f"{name}-{n}", vector[None]) for n, vector in enumerate(embed(np.stack(crops)))]
        write_catalog(folder / name, rows, spec)
        found[name] = folder / name
    return found


def png(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def crew(
    repository: Path, catalogs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server of both catalogs with two workers."""
    arguments = [part for name, path in catalogs.items() for part in ("--catalog", f"{name}={path}")]
    variables = {"SIGHTLINE_ENGINE__REPOSITORY": str(repository), "SIGHTLINE_SERVER__WORKERS": "2"}
    log = tmp_path_factory.mktemp("crew") / "log"
    process = LocalServer(extra_args=arguments, env=environment(**variables), log=log, start_timeout_s=60)
    with process:
        yield RunningServer(process, log)


async def answered(server: RunningServer, catalog: str, number: int) -> Answer:
    async with grpc.aio.insecure_channel(server.target, options=OPTIONS) as channel:
        photo = png(images(20, 6, 64)[number])
        return await search(channel, asked(photo, catalog=catalog, regions=[WHOLE], max_products=3))


async def test_workers_search_each_catalog_with_its_embedder(crew: RunningServer, repository: Path) -> None:
    asking = [(name, number) for number in range(CONNECTIONS // 2) for name in ("narrow", "wide")]
    for start in range(0, len(asking), 4):
        portion = asking[start : start + 4]
        answers = await asyncio.gather(*(answered(crew, *each) for each in portion))
        for (name, number), answer in zip(portion, answers, strict=True):
            assert answer.best() == f"{name}-{number}"
            role = EMBEDDER if name == "narrow" else ECHO
            assert answer.done.embedder == spec_of(repository, role).identity
    roles = {role: len(found) for role, found in crew.children().items() if role != "other"}
    assert roles == {"tritonserver": 1, "detector": 1, "embedder": 1, ECHO: 1}
    figures = scrape(crew.process.metrics_url)
    assert figures.sum("sightline_batch_size_count", batcher=f"crops/{ECHO}") >= CONNECTIONS // 2
    assert figures.sum("sightline_engine_provider", model=ECHO) == 1
