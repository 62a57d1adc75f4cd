"""A worker in a separate process, whose main thread it has: Ray calls actors in other threads, where no embedded engine
may start.

Rule: the process ends with its parent, however that ends, and the engine with the process.
"""

import os
import socket
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from sightline_server.errors import ErrorKind
from sightline_server.ingest.on_ray.plan import Block
from sightline_server.ingest.on_ray.worker import Fault, Outcome, Work, Worker

CHECK_S = 0.5

_workers: list[Worker] = []
"""The worker of this process."""


class WorkerProcess:
    """Runs a `Worker` in a process, and starts another one when that has died."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._executor = self._started()

    def outcome(self, block: Block) -> Outcome:
        """The outcome of `block`. Blocks."""
        try:
            return self._executor.submit(outcome_here, block).result()
        except BrokenProcessPool:
            self._executor.shutdown(wait=False)
            self._executor = self._started()
            node = socket.gethostname()
            return Outcome(block, node, node, fault=Fault(ErrorKind.ENGINE_UNAVAILABLE, "its process was killed"))

    def _started(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, get_context("spawn"), initializer=start, initargs=(self._work, os.getpid()))


def start(work: Work, parent: int) -> None:
    """Makes the worker of this process."""
    threading.Thread(target=end_with, args=(parent,), name="parent-watch", daemon=True).start()
    _workers.append(Worker(work))


def end_with(parent: int) -> None:
    """Ends this process when `parent` is no longer its parent."""
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    os._exit(1)


def outcome_here(block: Block) -> Outcome:
    """The outcome of `block` by the worker of this process."""
    [worker] = _workers
    return worker.outcome(block)
