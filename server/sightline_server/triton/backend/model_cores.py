"""Which core runs which picture: the cores that all models of the engine share, and who deals pictures to them.

Rule: on a CPU no more model threads run than there are cores, whatever models they belong to. Threads that outnumber
the cores take turns, and each turn finds the core's caches full of another model's weights (docs/performance.md).
"""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

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


class Dealer:
    """Deals the pictures of a batch to the cores, one at a time; a thread for each core."""

    def __init__(self, cores: list[Core], run: Callable[[Arrays], Arrays]) -> None:
        self._run = run
        self._due: deque[tuple[Arrays, Future[Arrays]]] = deque()
        self._changed = threading.Condition()
        for core in cores:
            threading.Thread(target=self._work, args=(core,), daemon=True).start()

    def deal(self, pictures: list[Arrays]) -> list[Arrays]:
        """The outputs of each."""
        tasks: list[tuple[Arrays, Future[Arrays]]] = [(picture, Future()) for picture in pictures]
        with self._changed:
            self._due.extend(tasks)
            self._changed.notify_all()
        # All of them, also when one fails: the pictures lie in memory that is only theirs until the answer.
        wait([future for _, future in tasks])
        return [future.result() for _, future in tasks]

    def _work(self, core: Core) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due)
            core.take()
            try:
                self._next()
            finally:
                core.give()

    def _next(self) -> None:
        with self._changed:
            # Another core may have been free earlier.
            if not self._due:
                return
            picture, future = self._due.popleft()
        try:
            future.set_result(self._run(picture))
        except Exception as error:  # it belongs to whoever waits for the batch
            future.set_exception(error)
