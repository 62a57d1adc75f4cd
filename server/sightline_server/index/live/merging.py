"""The thread of merges, one at a time.

Rule: it has the priority of the event loop. A merge holds Python's lock every now and then; with a lower priority on a
busy machine it would be suspended while it does, and every search would wait for it (measured: 260 ms instead of 60 ms,
and a merge of 10,000 products took 17 s instead of 2). It waits for searches between its pieces instead (`patience`).
"""

import threading
from collections.abc import Callable


class Merging:
    """Runs `merge` in a thread. `start` and `ended` are called under the lock of what is merged."""

    def __init__(self, merge: Callable[[], None], name: str) -> None:
        self.running = False
        self._merge = merge
        self._name = f"merge-{name}"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins a merge; none is running."""
        self.running = True
        self._thread = threading.Thread(target=self._merge, name=self._name, daemon=True)
        self._thread.start()

    def ended(self) -> None:
        """Notes that the merge has had its effect."""
        self.running = False

    def join(self) -> None:
        """Waits for the end of the merge that was started last, if there is one."""
        if self._thread is not None:
            self._thread.join()
