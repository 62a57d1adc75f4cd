"""Parts of the engine are stopped (SIGSTOP): what does not answer is replaced."""

import os
import signal

import pytest

from sightline_server.errors import ErrorKind
from tests.support.embedded import Embedded, both, embedded, failures_until_ready, shared_engine, tiny_repository

__all__ = ["embedded", "shared_engine", "tiny_repository"]
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
