"""Parts of the engine are stopped (SIGSTOP): a process that does not answer is replaced, and one that was only paused
is not."""

import asyncio
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from sightline_server.domain.models import DETECTOR
from sightline_server.errors import ErrorKind
from tests.support.embedded import Embedded, both, embedded, failures_until_ready, running_engine, shared_engine
from tests.support.fault_models import build_fault_repository
from tests.support.tiny_models import expected_detections

__all__ = ["embedded", "shared_engine"]
pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


async def test_a_frozen_tritonserver_is_replaced(embedded: Embedded) -> None:
    before = embedded.host.pid
    os.kill(before, signal.SIGSTOP)
    failures = await failures_until_ready(embedded)
    await both(embedded.engine)
    assert embedded.host.pid != before
    assert {error.kind for error in failures} <= {ErrorKind.ENGINE_UNAVAILABLE, ErrorKind.DEADLINE_EXCEEDED}


async def test_a_frozen_stub_is_replaced(embedded: Embedded) -> None:
    before = embedded.stub("embedder")
    os.kill(before, signal.SIGSTOP)
    failures = await failures_until_ready(embedded)
    await both(embedded.engine)
    assert embedded.stub("embedder") != before
    assert {error.kind for error in failures} <= {ErrorKind.ENGINE_UNAVAILABLE, ErrorKind.DEADLINE_EXCEEDED}


async def test_a_machine_that_stands_still_costs_no_engine_and_no_answer(tmp_path: Path) -> None:
    slow = np.full((1, 64, 64, 3), (0, 255, 0), np.uint8)
    async with running_engine(build_fault_repository(tmp_path)) as running:
        for _ in range(3):
            call = asyncio.create_task(running.engine.runner(DETECTOR).infer({"IMAGES": list(slow)}, deadline=None))
            # Triton has handed the image over just now, and the stub has sent no heartbeat since.
            await asyncio.wait([call], timeout=0.05)
            assert not call.done()
            processes = [running.host.pid, *(running.stub(model) for model in ("detector", "embedder"))]
            for pid in processes:
                os.kill(pid, signal.SIGSTOP)
            # The loop is held, because the watch is frozen with the rest. Triton goes on first: if it waited for the
            # stub, it would give it up.
            time.sleep(1.5)  # noqa: ASYNC251
            for pid in processes:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.02)  # noqa: ASYNC251
            answer = await call
            np.testing.assert_allclose(answer["SCORES"][0], expected_detections(slow[0])[1], atol=1e-6)
        await both(running.engine)
        assert running.events.mends == []
        assert running.readiness.seen == []
