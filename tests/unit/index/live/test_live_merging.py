"""The thread of merges."""

import os
import threading

from sightline_server.index.live.merging import Merging


def test_a_merge_has_the_priority_of_the_threads_that_wait_for_it() -> None:
    seen: list[int] = []
    merging = Merging(lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())), "shop")
    merging.start()
    merging.join()
    assert seen == [os.getpriority(os.PRIO_PROCESS, os.getpid())]
