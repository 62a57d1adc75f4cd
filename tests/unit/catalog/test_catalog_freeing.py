"""Freeing of what a checkpoint or a merge has replaced."""

import threading
from queue import SimpleQueue

import pytest

from sightline_server.catalog.freeing import PART, Freeing, free

WAIT_S = 10.0


class Witness:
    """Notes the thread that frees it."""

    def __init__(self, seen: "SimpleQueue[str]") -> None:
        self._seen = seen

    def __del__(self) -> None:
        self._seen.put(threading.current_thread().name)


def test_thread_rests_after_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    objects, left = [object() for _ in range(2 * PART + 1)], list[int]()
    monkeypatch.setattr("sightline_server.catalog.freeing.time.sleep", lambda _seconds: left.append(len(objects)))
    free(objects)
    assert left == [PART + 1, 1, 0]


def test_a_long_list_is_freed_by_the_thread_of_freeing() -> None:
    seen: SimpleQueue[str] = SimpleQueue()
    objects = [Witness(seen) for _ in range(PART + 1)]
    Freeing().put(objects)
    assert {seen.get(timeout=WAIT_S) for _ in range(PART + 1)} == {"freeing"}
    assert objects == []


def test_a_short_list_is_left_to_its_owner() -> None:
    seen: SimpleQueue[str] = SimpleQueue()
    objects = [Witness(seen)]
    Freeing().put(objects)
    assert len(objects) == 1
    del objects
    assert seen.get(timeout=WAIT_S) == threading.current_thread().name
