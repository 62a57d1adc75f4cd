"""The thread of merges, one at a time.

Rule: it has the priority of the event loop. A merge holds Python's lock every now and then; with a lower priority on a
busy machine it would be suspended while it does, and every search would wait for it (measured: 260 ms instead of 60 ms,
and a merge of 10,000 products took 17 s instead of 2). It waits for searches between its pieces instead (`patience`).
All merges of a catalog run in the same thread: a new thread begins in another of glibc's heaps, and a merge would leave
free memory at the end of each of them.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait


class Merging:
    """Runs `merge` in a thread, which begins with the first one and ends with `close`.

    `start` and `ended` are called under the lock of what is merged.
    """

    def __init__(self, merge: Callable[[], None], name: str) -> None:
        self.running = False
        self._merge = merge
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"merge-{name}")
        self._last: Future[None] | None = None

    def start(self) -> None:
        """Begins a merge; none is running, and `close` was not called.

        Raises `RuntimeError` where the system has no further thread; it may be called again then.
        """
        self.running = True
        try:
            self._last = self._thread.submit(self._run)
        except RuntimeError:
            self.running = False
            raise

    def ended(self) -> None:
        """Notes that the merge has had its effect."""
        self.running = False

    def join(self) -> None:
        """Waits for the end of the merge that was started last, if there is one."""
        if self._last is not None:
            wait([self._last])

    def close(self) -> None:
        """Waits for a merge that runs, and ends the thread."""
        self._thread.shutdown()

    def _run(self) -> None:
        # The executor keeps the work of a start that found no thread, and would do it after that of the next one.
        if self.running:
            self._merge()
