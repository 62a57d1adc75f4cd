"""Who runs on which core: batches dealt one picture at a time, cores shared by models, threads that were stated."""

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
MODULES = ("onnx_sessions", "model_cores")


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The backend's module on a machine of three cores, which models share through files in `tmp_path`."""
    cores = [tmp_path / f"core{place}" for place in range(CORES)]
    for core in cores:
        core.touch()
    monkeypatch.setenv("SIGHTLINE_CORES", ":".join(map(str, cores)))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with resources.as_file(resources.files("sightline_server.triton") / "backend") as folder:
        monkeypatch.syspath_prepend(folder)
        module = importlib.import_module("onnx_sessions")
        monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(CORES)))
        yield module
        for name in MODULES:
            del sys.modules[name]


@pytest.fixture
def embedder(sessions: ModuleType, tmp_path: Path) -> Any:
    return sessions.Sessions(str(build_repository(tmp_path) / "embedder" / "1" / "model.onnx"), {}, "CPU", "0")


def crops(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(("instances", "cores"), [(1, 3), (2, 1), (9, 1)])
def test_instances_share_the_cores(sessions: ModuleType, instances: int, cores: int) -> None:
    assert sessions.cores_of({"instance_group": [{"count": instances, "kind": "KIND_CPU"}]}) == cores


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_a_batch_dealt_to_the_cores_gives_what_its_members_give_alone(embedder: Any, count: int) -> None:
    (answer,) = embedder.run([crops(count)])
    np.testing.assert_allclose(answer, expected_embeddings(crops(count)), atol=1e-6)


def test_a_picture_alone_on_the_machine_gets_all_cores(sessions: ModuleType, embedder: Any) -> None:
    used: list[Any] = []
    run = embedder.run_on
    embedder.run_on = lambda session, arrays: used.append(session) or run(session, arrays)
    embedder.run([crops(1)])
    others = sessions.open_cores(CORES)
    others[0].take()
    embedder.run([crops(1)])
    others[1].take()
    embedder.run([crops(1)])
    assert used == [embedder.joined, embedder.joined, embedder.single]


def test_while_another_model_has_all_cores_nothing_runs(sessions: ModuleType, embedder: Any) -> None:
    others = sessions.open_cores(CORES)
    for core in others:
        core.take()
    ran, answered = threading.Event(), threading.Event()
    run = embedder.run_on
    embedder.run_on = lambda session, arrays: ran.set() or run(session, arrays)
    batch = threading.Thread(target=lambda: embedder.run([crops(4)]) and answered.set())
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


def test_a_picture_that_fails_fails_the_batch_when_all_others_have_ended(sessions: ModuleType, embedder: Any) -> None:
    ended: list[int] = []
    run = embedder.run_on

    def fail_the_first(session: Any, arrays: list[Any]) -> Any:
        if int(arrays[0][0, 0, 0, 0]) == 1:
            raise RuntimeError("this one")
        answer = run(session, arrays)
        ended.append(int(arrays[0][0, 0, 0, 0]))
        return answer

    embedder.run_on = fail_the_first
    pictures = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (1, 2, 3, 4, 5)])
    with pytest.raises(RuntimeError, match="this one"):
        embedder.run([pictures])
    assert sorted(ended) == [2, 3, 4, 5]
    (answer,) = embedder.run([pictures[1:]])
    assert len(answer) == 4


@pytest.mark.parametrize("count", [1, 4])
def test_nothing_of_a_batch_outlives_its_answer(embedder: Any, count: int) -> None:
    pictures = crops(count)
    left = weakref.ref(pictures)
    embedder.run([pictures])
    del pictures
    # A thread may not have left its last call yet; no garbage collection is needed.
    deadline = time.monotonic() + 5.0
    while left() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_states_threads_gets_one_session_with_so_many(sessions: ModuleType, tmp_path: Path) -> None:
    path = str(build_repository(tmp_path) / "embedder" / "1" / "model.onnx")
    stated = sessions.Sessions(path, {"parameters": {"intra_op_thread_count": {"string_value": "3"}}}, "CPU", "0")
    assert stated.cores == []
    assert stated.joined.get_session_options().intra_op_num_threads == 3
