"""Which core runs which picture: the cores that all models of the engine share, and who deals pictures to them.

Rule: on a CPU no more model threads run than there are cores, whatever models they belong to. Threads that outnumber
the cores take turns, and each turn finds the core's caches full of another model's weights (docs/performance.md).
"""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]
"""One request's inputs, or one answer's outputs, in the order of the model."""


class Core:
    """The right to run a model on one core, which all models of the engine share; free again when its owner dies.

    A lock on a file, because the models are processes of their own. Without a path there is nobody to share with.
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


@contextmanager
def most_of(cores: list[Core]) -> Iterator[bool]:
    """Holds the cores that are free for the length of the block; whether they are more than half of all."""
    taken = [core for core in cores if core.take_now()]
    try:
        yield len(taken) > len(cores) // 2
    finally:
        for core in taken:
            core.give()


class Batch:
    """The pictures of one batch while they are run one by one."""

    def __init__(self, pictures: list[Arrays]) -> None:
        self.outcome: Future[Arrays] = Future()
        """The outputs of all, joined; the error of one of them where that failed."""
        self._pictures = pictures
        self._answers: list[Arrays] = [[] for _ in pictures]
        self._error: Exception | None = None
        self._running = len(pictures)
        self._lock = threading.Lock()

    def run(self, place: int, model: Callable[[Arrays], Arrays]) -> bool:
        """Runs one picture; whether it was the last one to end."""
        try:
            self._answers[place] = model(self._pictures[place])
        except Exception as error:  # it belongs to whoever waits for the batch
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
    """The error alone: the frames of its traceback would keep the pictures alive in a circle."""
    return error.with_traceback(None)


class Dealer:
    """Deals the pictures of batches to the cores, one at a time; a thread for each core."""

    def __init__(self, cores: list[Core], model: Callable[[Arrays], Arrays]) -> None:
        self._model = model
        self._due: deque[tuple[Batch, int]] = deque()
        self._changed = threading.Condition()
        for core in cores:
            threading.Thread(target=self._work, args=(core,), daemon=True).start()

    def deal(self, pictures: list[Arrays]) -> "Future[Arrays]":
        """Returns when the last picture has been taken; the outputs follow.

        So whoever brings batches learns that a core will soon have nothing to do, and the pictures of the next one are
        there before that.
        """
        batch = Batch(pictures)
        with self._changed:
            self._due.extend((batch, place) for place in range(len(pictures)))
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._due)
        return batch.outcome

    def _work(self, core: Core) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due)
            self._run_one(core)

    def _run_one(self, core: Core) -> None:
        """Runs a picture when the core is free. Nothing of its batch stays in the thread, however long that idles."""
        core.take()
        try:
            ended = self._next()
        finally:
            core.give()
        if ended:
            # Whoever hears of it takes its time, and the core is another model's meanwhile.
            ended.tell()

    def _next(self) -> Batch | None:
        """Runs the picture that waited longest; its batch when that is over."""
        with self._changed:
            # Another core may have been free earlier.
            if not self._due:
                return None
            batch, place = self._due.popleft()
            if not self._due:
                self._changed.notify_all()
        return batch if batch.run(place, self._model) else None
