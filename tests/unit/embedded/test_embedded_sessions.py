"""The assignment of work to cores: batches split by image, cores shared by models, configured threads."""

import importlib
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.support.tiny_models import build_repository, expected_embeddings

CORES = 3
MODULES = ("onnx_sessions", "bf16_sessions", "fixed_batches", "onnx_runtime", "model_cores")


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The backend's module on a machine of three cores, which models share through files in `tmp_path`."""
    cores = [tmp_path / f"core{place}" for place in range(CORES)]
    for core in cores:
        core.touch()
    monkeypatch.setenv("SIGHTLINE_CORES", ":".join(map(str, cores)))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with resources.as_file(resources.files("sightline_server.embedded") / "backend") as folder:
        monkeypatch.syspath_prepend(folder)
        module = importlib.import_module("onnx_sessions")
        monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(CORES)))
        yield module
        for name in MODULES:
            del sys.modules[name]


@pytest.fixture
def embedder(sessions: ModuleType, tmp_path: Path) -> Any:
    return sessions.Sessions(str(build_repository(tmp_path) / "embedder" / "1" / "model.onnx"), {}, "CPU", "0")


def result(model: Any, arrays: list[Any]) -> list[Any]:
    """The outputs of a batch once all of it has ended."""
    outputs: list[Any] = model.submit(arrays).result(10.0)
    return outputs


def crops(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(("instances", "cores"), [(1, 3), (2, 1), (9, 1)])
def test_instances_share_the_cores(sessions: ModuleType, instances: int, cores: int) -> None:
    assert sessions.cores_of({"instance_group": [{"count": instances, "kind": "KIND_CPU"}]}) == cores


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_a_batch_dealt_to_the_cores_gives_what_its_members_give_alone(embedder: Any, count: int) -> None:
    (answer,) = result(embedder, [crops(count)])
    np.testing.assert_allclose(answer, expected_embeddings(crops(count)), atol=1e-6)


def test_an_image_alone_on_the_machine_gets_all_cores(sessions: ModuleType, embedder: Any) -> None:
    used: list[Any] = []
    run = embedder.run_on

    def noted(session: Any, arrays: Any) -> Any:
        used.append(session)
        return run(session, arrays)

    embedder.run_on = noted
    result(embedder, [crops(1)])
    others = sessions.open_cores(CORES)
    others[0].take()
    result(embedder, [crops(1)])
    others[1].take()
    result(embedder, [crops(1)])
    assert used == [embedder.joined, embedder.joined, embedder.single]


def test_while_another_model_has_all_cores_nothing_runs(sessions: ModuleType, embedder: Any) -> None:
    others = sessions.open_cores(CORES)
    for core in others:
        core.take()
    ran, answered = threading.Event(), threading.Event()
    run = embedder.run_on

    def noted(session: Any, arrays: Any) -> Any:
        ran.set()
        return run(session, arrays)

    def ask() -> None:
        if result(embedder, [crops(4)]):
            answered.set()

    embedder.run_on = noted
    batch = threading.Thread(target=ask)
    batch.start()
    assert not ran.wait(0.2)
    others[1].give()
    assert answered.wait(10.0)
    batch.join()


def test_a_model_that_dies_gives_its_cores_back(sessions: ModuleType, tmp_path: Path) -> None:
    script = (
        "import fcntl, os, sys\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)\n"
        "print('taken', flush=True)\n"
        "sys.stdin.read()\n"
    )
    core = sessions.open_cores(1)[0]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "core0")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"taken\n"
        assert not core.take_now()
        other.kill()
        other.wait()
        assert core.take_now()


def test_an_image_that_fails_fails_the_batch_when_all_others_have_ended(sessions: ModuleType, embedder: Any) -> None:
    ended: list[int] = []
    run = embedder.run_on

    def fail_the_first(session: Any, arrays: list[Any]) -> Any:
        if int(arrays[0][0, 0, 0, 0]) == 1:
            raise RuntimeError("this one")
        answer = run(session, arrays)
        ended.append(int(arrays[0][0, 0, 0, 0]))
        return answer

    embedder.run_on = fail_the_first
    images = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (1, 2, 3, 4, 5)])
    with pytest.raises(RuntimeError, match="this one"):
        result(embedder, [images])
    assert sorted(ended) == [2, 3, 4, 5]
    (answer,) = result(embedder, [images[1:]])
    assert len(answer) == 4


def test_the_next_batch_runs_beside_the_last_images_of_the_one_before(embedder: Any) -> None:
    slow, last = threading.Event(), np.full((1, 32, 32, 3), 9, np.uint8)
    run = embedder.run_on

    def hold_the_last(session: Any, arrays: list[Any]) -> Any:
        if (arrays[0] == last).all():
            assert slow.wait(10.0)
        return run(session, arrays)

    embedder.run_on = hold_the_last
    first = embedder.submit([np.concatenate([crops(4), last])])
    np.testing.assert_allclose(result(embedder, [crops(3)])[0], expected_embeddings(crops(3)), atol=1e-6)
    assert not first.done()
    slow.set()
    np.testing.assert_allclose(first.result(10.0)[0][:4], expected_embeddings(crops(4)), atol=1e-6)


def test_images_whose_time_is_over_are_not_run(sessions: ModuleType, embedder: Any) -> None:
    others = sessions.open_cores(CORES)
    for core in others:
        core.take()
    ran: list[int] = []
    run = embedder.run_on

    def noted(session: Any, arrays: Any) -> Any:
        ran.append(len(arrays[0]))
        return run(session, arrays)

    embedder.run_on = noted
    late = embedder.submit([crops(4)], time.monotonic() + 0.05)
    time.sleep(0.1)
    patient = embedder.submit([crops(2)], time.monotonic() + 60.0)
    for core in others:
        core.give()
    assert isinstance(late.exception(10.0), TimeoutError)
    assert len(patient.result(10.0)[0]) == 2
    assert ran == [1, 1]


def test_a_second_image_waits_for_a_core_while_one_has_them_all(sessions: ModuleType, embedder: Any) -> None:
    may_run, used = threading.Event(), []
    run = embedder.run_on

    def held(session: Any, arrays: Any) -> Any:
        used.append(session)
        assert may_run.wait(10.0)
        return run(session, arrays)

    embedder.run_on = held
    first, second = embedder.submit([crops(1)]), embedder.submit([crops(1)])
    time.sleep(0.1)
    assert used == [embedder.joined]
    may_run.set()
    for outcome in (first, second):
        np.testing.assert_allclose(outcome.result(10.0)[0], expected_embeddings(crops(1)), atol=1e-6)
    assert used == [embedder.joined, embedder.single]


def test_joined_cores_are_free_before_the_answer_is_told(sessions: ModuleType, embedder: Any) -> None:
    may_run, told = threading.Event(), threading.Event()
    free: list[bool] = []
    run = embedder.run_on
    embedder.run_on = lambda session, arrays: may_run.wait(10.0) and run(session, arrays)
    others = sessions.open_cores(CORES)
    outcome = embedder.submit([crops(1)])
    assert not any(core.take_now() for core in others)

    def take(_: object) -> None:
        free.extend(core.take_now() for core in others)
        told.set()

    outcome.add_done_callback(take)
    may_run.set()
    assert told.wait(10.0)
    assert free == [True] * CORES


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("count", [1, 4])
def test_nothing_of_a_batch_outlives_its_answer(embedder: Any, count: int, fails: bool) -> None:
    run = embedder.run_on

    def run_or_fail(session: Any, arrays: list[Any]) -> Any:
        if fails:
            raise RuntimeError("this one")
        return run(session, arrays)

    embedder.run_on = run_or_fail
    images = crops(count)
    left = weakref.ref(images)
    outcome = embedder.submit([images])
    assert (outcome.exception(10.0) is not None) == fails
    del images, outcome
    # The thread that reported the outcome may not have left its call yet; no garbage collection is needed.
    deadline = time.monotonic() + 5.0
    while left() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_states_threads_gets_one_session_with_so_many(sessions: ModuleType, tmp_path: Path) -> None:
    path = str(build_repository(tmp_path) / "embedder" / "1" / "model.onnx")
    stated = sessions.Sessions(path, {"parameters": {"intra_op_thread_count": {"string_value": "3"}}}, "CPU", "0")
    assert not stated.dealt
    assert stated.joined.get_session_options().intra_op_num_threads == 3


@pytest.mark.parametrize("count", [1, 2, 7])
def test_in_bf16_images_run_one_by_one_on_a_stream_for_each_core(
    sessions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    opened: list[tuple[int, int]] = []
    sizes: list[int] = []

    class Alone:
        """A session that only takes one image, as the provider's do."""

        def __init__(self, path: str) -> None:
            self._session = sessions.onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            self.get_providers, self.get_inputs = lambda: ["OpenVINOExecutionProvider"], self._session.get_inputs
            self.get_outputs = self._session.get_outputs

        def run(self, outputs: Any, feed: dict[str, Any]) -> Any:
            sizes.append(len(feed["CROPS"]))
            return self._session.run(outputs, feed)

    def open_bf16(path: str, threads: int, streams: int = 1) -> Any:
        opened.append((threads, streams))
        return sys.modules["bf16_sessions"].OneByOne(Alone(path))

    monkeypatch.setattr(sessions, "open_bf16", open_bf16)
    path = str(build_repository(tmp_path / "models") / "embedder" / "1" / "model.onnx")
    model = sessions.Sessions(path, {}, "CPU", "0", bf16=True)
    assert (model.precision, model.provider) == ("bf16", "OpenVINOExecutionProvider")
    assert opened == [(CORES, 1), (CORES, CORES)]
    np.testing.assert_allclose(result(model, [crops(count)])[0], expected_embeddings(crops(count)), atol=1e-6)
    np.testing.assert_allclose(model.run_whole([crops(count)])[0], expected_embeddings(crops(count)), atol=1e-6)
    assert set(sizes) == {1}


def test_models_in_bf16_are_named_by_the_server(sessions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = sys.modules["bf16_sessions"].asked_for_bf16
    monkeypatch.delenv("SIGHTLINE_BF16", raising=False)
    assert not asked("detector")
    monkeypatch.setenv("SIGHTLINE_BF16", "detector:embedder-two")
    assert (asked("detector"), asked("embedder"), asked("embedder-two")) == (True, False, True)
