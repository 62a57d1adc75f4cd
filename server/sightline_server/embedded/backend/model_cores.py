"""The assignment of images to cores: the cores that all models of the engine share, and their scheduler.

Rule: on a CPU no more model threads run than there are cores, whatever models they belong to. Threads that outnumber
the cores take turns, and each turn finds the core's caches full of another model's weights
(docs/record/lab/performance.md).
"""

import fcntl
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]
"""One request's inputs, or one answer's outputs, in the order of the model."""


class Core:
    """The right to run a model on one core, which all models of the engine share; free again when its owner dies.

    A lock on a file, because each model is a separate process. Without a path the cores are not shared.
    """

    def __init__(self, path: str | None) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC) if path else None

    def take(self) -> None:
        """Waits until the core is free."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def take_now(self) -> bool:
        """Takes the core if it is free."""
        if self._file is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def give(self) -> None:
        """Lets the next one have it."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def open_cores(count: int) -> list[Core]:
    """The cores of this machine; each call's are rivals of every other's. `SIGHTLINE_CORES` is the engine's word."""
    shared = os.environ.get("SIGHTLINE_CORES", "").split(":")
    return [Core(shared[place] if place < len(shared) else None) for place in range(count)]


class Together:
    """All cores at once, for an image that is alone on the machine. One thread takes them, any thread releases them."""

    def __init__(self, cores: list[Core]) -> None:
        self._cores = cores
        self._taken: list[Core] = []

    def take_now(self) -> bool:
        """Takes the cores that are free, if those are more than half of all and nobody has them already."""
        # A lock that this process holds would seem free to it.
        if self._taken:
            return False
        self._taken = [core for core in self._cores if core.take_now()]
        if len(self._taken) > len(self._cores) // 2:
            return True
        self.give()
        return False

    def give(self) -> None:
        """Lets the next ones have them."""
        for core in self._taken:
            core.give()
        self._taken = []


class Batch:
    """The pieces of one batch while they are run one by one."""

    def __init__(self, pieces: list[Arrays], limit: float) -> None:
        self.outcome: Future[Arrays] = Future()
        """The outputs of all, joined; the error of one of them where that failed."""
        self._pieces = pieces
        self._limit = limit
        self._answers: list[Arrays] = [[] for _ in pieces]
        self._error: Exception | None = None
        self._running = len(pieces)
        self._lock = threading.Lock()

    def run(self, place: int, model: Callable[[Arrays], Arrays]) -> bool:
        """Runs one piece unless its caller no longer waits; returns whether it was the last one to end."""
        try:
            if time.monotonic() > self._limit:
                raise TimeoutError
            self._answers[place] = model(self._pieces[place])
        except Exception as error:  # it belongs to the caller that waits for the batch
            self._error = without_frames(error)
        with self._lock:
            self._running -= 1
            return self._running == 0

    def tell(self) -> None:
        """Sets the outcome once all have ended, also when one failed: they are views of memory that goes with it."""
        if self._error is None:
            try:
                outputs = [np.concatenate(pieces) for pieces in zip(*self._answers, strict=True)]
            except Exception as error:  # as above
                self._error = without_frames(error)
        if self._error is None:
            self.outcome.set_result(outputs)
        else:
            self.outcome.set_exception(self._error)


def without_frames(error: Exception) -> Exception:
    """The error alone: the frames of its traceback would keep the images alive in a circle."""
    return error.with_traceback(None)


class Dealer:
    """Deals the pieces of batches to the cores, one at a time and in order; a thread for each core."""

    def __init__(self, cores: list[Core], model: Callable[[Arrays], Arrays]) -> None:
        self._model = model
        self._due: deque[tuple[Batch, int]] = deque()
        self._changed = threading.Condition()
        for core in cores:
            threading.Thread(target=self._work, args=(core,), daemon=True).start()

    def deal(self, pieces: list[Arrays], limit: float = math.inf) -> "Future[Arrays]":
        """Returns at once; the outputs follow. From the instant `limit` of the monotonic clock on, no caller waits any
        more."""
        batch = Batch(pieces, limit)
        with self._changed:
            self._due.extend((batch, place) for place in range(len(pieces)))
            self._changed.notify_all()
        return batch.outcome

    def _work(self, core: Core) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due)
            self._run_one(core)

    def _run_one(self, core: Core) -> None:
        """Runs a piece when the core is free. Nothing of its batch stays in the thread, however long that idles."""
        core.take()
        try:
            ended = self._next()
        finally:
            core.give()
        if ended:
            # The notified caller takes its time, and another model uses the core meanwhile.
            ended.tell()

    def _next(self) -> Batch | None:
        """Runs the piece that waited longest; its batch when that is over."""
        with self._changed:
            # Another core may have been free earlier.
            if not self._due:
                return None
            batch, place = self._due.popleft()
        return batch if batch.run(place, self._model) else None
