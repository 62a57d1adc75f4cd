"""A Triton of the operator's comes back with another embedder: the server refuses rather than mix embeddings."""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sightline_client.local_server import LocalServerError
from tests.support.remote_triton import RemoteTriton, remote_triton
from tests.support.rest import REST_WITHIN_S, counted, good_answer
from tests.support.small_shop import PHOTO, SmallShop, serving
from tests.support.tiny_models import build_repository
from tests.support.world import RunningServer, asked, refused

pytestmark = pytest.mark.engine
QUICK = {"SIGHTLINE_ENGINE__PROBE_INTERVAL_S": "0.2", "SIGHTLINE_ENGINE__PROBE_TIMEOUT_S": "2"}


def other_weights(repository: Path) -> None:
    """Another embedder under the same name, of the same shapes: only its answers differ."""
    path = repository / "embedder" / "1" / "model.onnx"
    model = onnx.load(path)
    (added,) = [weight for weight in model.graph.initializer if weight.name == "one"]
    added.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(added) + 100 * np.arange(8, dtype=np.float32), "one"))
    onnx.save(model, path)


def other_name(repository: Path) -> None:
    """The same embedder under another name."""
    path = repository / "embedder" / "config.pbtxt"
    entry = f'parameters {{ key: "name" value {{ string_value: {json.dumps("another")} }} }}\n'
    path.write_text(path.read_text() + entry)


@pytest.mark.parametrize("change", [other_name, other_weights])
async def test_another_embedder_behind_the_same_address_is_refused(
    shop: SmallShop, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    repository = build_repository(tmp_path / "models")
    kept = {path: path.read_bytes() for path in repository.glob("embedder/**/*.*")}
    with (
        remote_triton(repository) as triton,
        serving(shop, tmp_path / "log", "--triton-url", triton.url, **QUICK) as server,
    ):
        await good_answer(server)
        change(repository)
        restart(triton)
        await until_said(server, "another embedder")
        async with grpc.aio.insecure_channel(server.target) as channel:
            error = await refused(channel, asked(PHOTO))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE")
        assert error.events == []
        assert await counted(server, "engine_ready") == 0
        for path, content in kept.items():
            path.write_bytes(content)
        restart(triton)
        async with asyncio.timeout(REST_WITHIN_S):
            while not await counted(server, "engine_ready"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await good_answer(server)


def restart(triton: RemoteTriton) -> None:
    """The steps of an operator after changing the repository."""
    triton.end()
    triton.start()


async def until_said(server: RunningServer, words: str) -> None:
    """Returns when the server's log has `words`."""
    async with asyncio.timeout(REST_WITHIN_S):
        while words not in server.process.log_tail(400):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def test_a_catalog_of_another_embedder_is_not_served(shop: SmallShop, tmp_path: Path) -> None:
    repository = build_repository(tmp_path / "models")
    other_name(repository)
    with ExitStack() as stack:
        triton = stack.enter_context(remote_triton(repository))
        with pytest.raises(LocalServerError) as caught:
            stack.enter_context(serving(shop, tmp_path / "log", "--triton-url", triton.url))
    assert "made with another embedder: embedder in the catalog, another in the engine" in str(caught.value)
