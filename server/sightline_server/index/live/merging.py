"""The thread of merges: one at a time, and after everything else that wants a processor."""

import os
import threading
from collections.abc import Callable

NICENESS = 15
"""Of the thread, on the scale from 0 to 19: searches and writes get the processor first."""


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
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def ended(self) -> None:
        """Notes that the merge has had its effect."""
        self.running = False

    def join(self) -> None:
        """Waits for the end of the merge that was started last, if there is one."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._merge()
