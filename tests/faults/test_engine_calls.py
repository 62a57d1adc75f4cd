"""Faults that calls notice by themselves, while no watch probes: a stub that pauses, an engine that is gone."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.engine import TritonEngine
from tests.integration.test_engine import counters
from tests.support.embedded import CROPS, Embedded, both, embed, embed_until_it_fails, running_engine
from tests.support.tiny_models import DETECTOR_SIZE, EMBEDDER_SIZE, expected_detections, expected_embeddings

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unwatched_engine(tiny_repository: Path) -> AsyncIterator[Embedded]:
    """An engine whose watch probes only after a failed call, so that a stub may pause."""
    async with running_engine(tiny_repository, probe_interval_s=60.0, metrics_port=0) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def unwatched(unwatched_engine: Embedded) -> Embedded:
    """The file's engine, whatever it has been through."""
    assert unwatched_engine.engine.ready
    unwatched_engine.readiness.seen.clear()
    unwatched_engine.events.mends.clear()
    unwatched_engine.events.lost.clear()
    return unwatched_engine


async def test_what_waits_past_its_deadline_for_a_stub_that_stands_still_costs_one_run(unwatched: Embedded) -> None:
    engine, stub = unwatched.engine, unwatched.stub("embedder")
    before = counters(engine.metrics_url, "embedder")["nv_inference_count"]
    os.kill(stub, signal.SIGSTOP)
    runner = engine.runner(EMBEDDER)
    # The first call occupies the stub, the second waits behind it until its time is over. All of it takes less than the
    # second after which Triton gives a stopped stub up.
    first = asyncio.create_task(runner.infer({"CROPS": list(CROPS)}, deadline=None))
    await asyncio.wait([first], timeout=0.3)
    with pytest.raises(SightlineError) as caught:
        await runner.infer({"CROPS": list(CROPS)}, deadline=time.monotonic() + 0.15)
    assert caught.value.kind is ErrorKind.DEADLINE_EXCEEDED
    # Triton began to count when the call reached it, a little later than its caller did. The loop is held, because the
    # watch, woken by the missed deadline, would find the stub stopped and kill it.
    time.sleep(0.1)  # noqa: ASYNC251
    os.kill(stub, signal.SIGCONT)
    await first
    await embed(engine)
    # The first and the last, perhaps the second, whose caller has its answer, and perhaps already the image with which
    # the watch probes after a missed deadline. Triton counts when it has answered: the last ones may be missing for a
    # moment.
    run = await settled(lambda: counters(engine.metrics_url, "embedder")["nv_inference_count"]) - before
    assert 2 * len(CROPS) <= run <= 3 * len(CROPS) + 1


async def settled(read: Callable[[], float], *, for_s: float = 0.5, within_s: float = 10.0) -> float:
    """The value of `read` once it has been the same for `for_s` seconds; after `within_s` its last value."""
    end = time.monotonic() + within_s
    value, since = read(), time.monotonic()
    while (now := time.monotonic()) < min(since + for_s, end):
        await asyncio.sleep(0.05)
        if (found := read()) != value:
            value, since = found, now
    return value


async def test_a_caller_who_leaves_does_not_free_the_memory_of_his_call(unwatched: Embedded) -> None:
    engine, stub = unwatched.engine, unwatched.stub("embedder")
    os.kill(stub, signal.SIGSTOP)
    left = asyncio.create_task(engine.runner(EMBEDDER).infer({"CROPS": list(CROPS)}, deadline=None))
    done, _ = await asyncio.wait([left], timeout=0.3)
    assert not done
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    others = [asyncio.create_task(embed(engine)) for _ in range(4)]
    await asyncio.wait(others, timeout=0.3)
    os.kill(stub, signal.SIGCONT)
    await asyncio.gather(*others)


@pytest.mark.parametrize("model", ["detector", "embedder"])
async def test_nobody_gets_the_answer_of_another_when_the_machine_stood_still(unwatched: Embedded, model: str) -> None:
    engine, stub = unwatched.engine, unwatched.stub(model)
    # Triton hands the stub a call that it cannot take, and gives it up after a second although it lives.
    os.kill(stub, signal.SIGSTOP)
    lost = asyncio.create_task(right_answer(engine, model, 0))
    await asyncio.wait([lost], timeout=0.2)
    waiting = [asyncio.create_task(right_answer(engine, model, seed)) for seed in (1, 2)]
    await asyncio.wait(waiting, timeout=0.1)
    # The whole machine is frozen, the watch included: when it probes again, the stub runs.
    time.sleep(1.2)  # noqa: ASYNC251
    os.kill(stub, signal.SIGCONT)
    with pytest.raises(SightlineError) as caught:
        await lost
    assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert result is None or getattr(result, "kind", result) is ErrorKind.ENGINE_UNAVAILABLE
    for seed in range(3, 20):
        with contextlib.suppress(SightlineError):
            await right_answer(engine, model, seed)
    await unwatched.readiness.until(False, True)
    assert unwatched.events.mends
    await both(engine)


async def test_what_a_call_says_of_the_engine_after_its_deadline_is_heard(unwatched: Embedded) -> None:
    engine, stub = unwatched.engine, unwatched.stub("embedder")
    os.kill(stub, signal.SIGSTOP)
    late = asyncio.create_task(engine.runner(EMBEDDER).infer({"CROPS": list(CROPS)}, deadline=time.monotonic() + 0.5))
    await asyncio.wait([late], timeout=0.2)
    # Its deadline passes and Triton marks the stub as unhealthy while the machine is frozen; the stub runs afterwards.
    time.sleep(1.5)  # noqa: ASYNC251
    os.kill(stub, signal.SIGCONT)
    with pytest.raises(SightlineError):
        await late
    await unwatched.readiness.until(False, True)
    assert (unwatched.events.lost, unwatched.events.mends) == (["embedder"], ["restart"])
    await both(engine)


async def right_answer(engine: TritonEngine, model: str, seed: int) -> None:
    """One call with a distinct image, which must get the answer of that image."""
    role, tensor, size = (
        (EMBEDDER, "CROPS", EMBEDDER_SIZE) if model == "embedder" else (DETECTOR, "IMAGES", DETECTOR_SIZE)
    )
    picture = np.random.default_rng(seed).integers(0, 256, (1, size, size, 3), np.uint8)
    answer = await engine.runner(role).infer({tensor: list(picture)}, deadline=time.monotonic() + 10.0)
    if model == "embedder":
        np.testing.assert_allclose(answer["EMBEDDINGS"], expected_embeddings(picture), atol=1e-6)
    else:
        np.testing.assert_allclose(answer["SCORES"][0], expected_detections(picture[0])[1], atol=1e-6)


async def test_the_first_failed_call_turns_readiness_off(unwatched: Embedded) -> None:
    os.kill(unwatched.host.pid, signal.SIGKILL)
    with pytest.raises(SightlineError) as caught:
        await embed_until_it_fails(unwatched.engine)
    assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
    assert not unwatched.engine.ready
    await unwatched.readiness.until(False, True)
    await both(unwatched.engine)
