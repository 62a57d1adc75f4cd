"""Freeing of many objects, a part at a time.

Rule: Python frees a list with all that is in it in one go, and no other thread runs meanwhile: 5,000 rows of Arrow take
40 ms. Between two parts the thread that frees them rests, so that it has little of the lock and of a core.
"""

import threading
import time
from functools import cache
from queue import SimpleQueue
from typing import Any

PART = 64
"""Objects that are freed at once: less than a millisecond of rows of Arrow."""
REST_S = 0.002


def free(objects: list[Any]) -> None:
    """Empties `objects` from its end."""
    while objects:
        del objects[-PART:]
        time.sleep(REST_S)


class Freeing:
    """A thread that frees lists, for callers that must not wait, such as destructors on the event loop."""

    def __init__(self) -> None:
        self._lists: SimpleQueue[list[Any]] = SimpleQueue()
        # A daemon: what is left at the end of the process needs no freeing.
        threading.Thread(target=self._run, name="freeing", daemon=True).start()

    def put(self, *lists: list[Any]) -> None:
        """Empties `lists` soon. Destructors may call it at any moment: it takes no lock and starts nothing."""
        for each in lists:
            if len(each) > PART:
                self._lists.put(each)

    def _run(self) -> None:
        while True:
            free(self._lists.get())


@cache
def freeing() -> Freeing:
    """The one of this process."""
    return Freeing()
