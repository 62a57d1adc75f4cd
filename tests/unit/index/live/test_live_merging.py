"""The thread of merges."""

import os
import threading
from typing import Any

import pytest

from sightline_server.index.live.merging import Merging


def test_a_merge_has_the_priority_of_the_threads_that_wait_for_it() -> None:
    seen: list[int] = []
    merging = Merging(lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())), "shop")
    merging.start()
    merging.join()
    assert seen == [os.getpriority(os.PRIO_PROCESS, os.getpid())]


def test_all_merges_of_a_catalog_run_in_one_thread_which_ends_with_it() -> None:
    threads: list[threading.Thread] = []
    merging = Merging(lambda: threads.append(threading.current_thread()), "shop")
    for _ in range(3):
        merging.start()
        merging.join()
    assert threads[0] is threads[1] is threads[2]
    assert threads[0].is_alive()
    merging.close()
    assert not threads[0].is_alive()


def test_a_catalog_that_is_not_merged_has_no_thread_of_merges() -> None:
    before = threading.active_count()
    merging = Merging(lambda: None, "shop")
    assert threading.active_count() == before
    merging.join()
    merging.close()


def test_a_start_without_a_thread_leaves_no_second_merge_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    merges: list[str] = []

    def merge() -> None:
        merges.append("merged")
        merging.ended()

    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    merging = Merging(merge, "shop")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="thread"):
            merging.start()
    assert not merging.running
    merging.start()
    merging.close()
    assert merges == ["merged"]
    assert not merging.running
