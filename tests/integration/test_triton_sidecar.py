"""A Triton that we did not start, on a Unix socket as in the sidecar of deploy/helm/sightline: a real one.

A sidecar that restarts finds the socket that it left.
"""

import asyncio
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from sightline_server.domain.models import EMBEDDER
from sightline_server.embedded.command import Ports
from sightline_server.triton.engine import TritonEngine
from tests.support.engine import remote_engine
from tests.support.remote_triton import RemoteTriton
from tests.support.tiny_models import EMBEDDER_SIZE, expected_embeddings

pytestmark = pytest.mark.engine
GRPC_PORT = 8001
"""The suffix that Triton appends to the path of its socket; no port is opened."""


async def assert_answers(engine: TritonEngine) -> None:
    crops = np.random.default_rng(4).integers(0, 256, (2, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)
    answer = await engine.runner(EMBEDDER).infer({"CROPS": list(crops)}, deadline=time.monotonic() + 20)
    np.testing.assert_allclose(answer["EMBEDDINGS"], expected_embeddings(crops), atol=1e-6)


async def test_triton_on_a_socket_serves_and_is_found_again_after_its_restart(
    tiny_repository: Path, tmp_path: Path
) -> None:
    triton = RemoteTriton(tiny_repository, Ports(GRPC_PORT, 0, tmp_path / "grpc"))
    triton.start()
    engine = remote_engine(f"unix:{tmp_path}/grpc:{GRPC_PORT}", restart_backoff_s=(0.1,))
    try:
        await engine.start()
        await assert_answers(engine)
        assert dict(engine.transports) == {"detector": "shm", "embedder": "shm"}
        changes: asyncio.Queue[bool] = asyncio.Queue()
        engine.on_change(changes.put_nowait)
        triton.end()
        left = tmp_path / f"grpc:{GRPC_PORT}"
        assert stat.S_ISSOCK(left.stat().st_mode), "a killed Triton leaves its socket"
        async with asyncio.timeout(60):
            assert await changes.get() is False
            triton.start()
            assert await changes.get() is True
        await assert_answers(engine)
    finally:
        await engine.stop()
        triton.end()
