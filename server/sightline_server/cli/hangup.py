"""SIGHUP to a server: read files again, never end.

    blocked -> before anything else, and for good -> threads and child processes inherit that
    received -> by a thread that waits for it -> in the event loop -> what the server does on a reload
Rule: a handler would leave gaps: until it is installed, after it is removed, and in each child until that has one of
its own. A blocked signal has none. So `systemctl kill -s HUP`, which reaches the engine and the workers too, and a
terminal that is closed end nothing.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


def block_hangup() -> None:
    """Blocks SIGHUP in this thread, and in the threads and processes that it starts from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def receive_hangups(received: Callable[[], object]) -> None:
    """Calls `received` in the running event loop after SIGHUP, until the loop is closed. SIGHUP must be blocked.

    Signals that come before the loop has taken the last one are one: each wakes the loop through a pipe that SIGTERM
    needs too, and a pipe that is full loses it.
    """
    loop = asyncio.get_running_loop()
    taken = threading.Event()

    def take() -> None:
        taken.set()
        received()

    def wait() -> None:
        while True:
            signal.sigwait({signal.SIGHUP})
            taken.clear()
            try:
                loop.call_soon_threadsafe(take)
            except RuntimeError:  # the loop is closed: the server has stopped
                return
            taken.wait()

    threading.Thread(target=wait, name="hangups", daemon=True).start()


class Hangups:
    """Handles a SIGHUP: ignored while the server stops, carried out as soon as it serves."""

    def __init__(self) -> None:
        self._reload: Callable[[], object] | None = None
        self._asked = False
        self._stopping = False

    def received(self) -> None:
        """A SIGHUP has come."""
        if self._stopping:
            log.info("SIGHUP: the server stops, nothing is reloaded")
        elif self._reload is None:
            log.info("SIGHUP: the server starts, it will reload when it serves")
            self._asked = True
        else:
            self._reload()

    def serving(self, reload: Callable[[], object]) -> None:
        """The server serves; `reload` is what it does on SIGHUP."""
        self._reload = reload
        if self._asked:
            self._asked = False
            reload()

    def stopping(self) -> None:
        """The server stops."""
        self._stopping = True
