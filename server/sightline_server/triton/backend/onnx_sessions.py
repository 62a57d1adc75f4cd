"""A model in ONNX Runtime, and which core runs what. The backend's other half; model.py is Triton's side.

Rule: on a CPU no more model threads run than there are cores, whatever models they belong to. Threads that outnumber
the cores take turns, and each turn finds the core's caches full of another model's weights (docs/performance.md).
"""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]
"""One request's inputs, or one answer's outputs, in the order of the model."""


def parameter(config: dict[str, Any], key: str, default: str) -> str:
    """A string parameter of a model's configuration."""
    return str(config.get("parameters", {}).get(key, {}).get("string_value", default))


def providers(kind: str, device_id: str) -> list[Any]:
    """ONNX Runtime's providers for an instance of `kind`, first choice first."""
    if kind == "GPU":
        # The default tries every algorithm of every convolution anew for each size of batch: seconds, while calls wait.
        options = {"device_id": int(device_id), "cudnn_conv_algo_search": "HEURISTIC"}
        return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def cores_of(config: dict[str, Any]) -> int:
    """The cores that one instance of the model may use: an equal share for each."""
    instances = max(1, sum(int(group.get("count", 1)) for group in config.get("instance_group", [])))
    return max(1, len(os.sched_getaffinity(0)) // instances)


def session_options(config: dict[str, Any], threads: int) -> Any:
    """Options under the names that the native backend reads."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = int(parameter(config, "inter_op_thread_count", "0"))
    # Threads that spin between calls take the cores from the other model: nearly half of the CPU time, measured.
    spin = parameter(config, "intra_op_allow_spinning", "0")
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    return options


class Core:
    """The right to run a model on one core, which all models of the engine share; free again when its owner dies.

    A lock of the file system, because the models are processes of their own. Without a path there is nobody to share
    with.
    """

    def __init__(self, path: str | None) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if path else None

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
    shared = os.environ.get("SIGHTLINE_CORES")
    return [Core(shared and f"{shared}{place}") for place in range(count)]


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


class Sessions:
    """The model in ONNX Runtime: one session of all cores, and on a CPU another of a single thread.

    On a CPU a batch costs what its pictures cost one by one, so its pictures are best run on a core each; all cores are
    joined for a picture that is alone on the machine.
    """

    def __init__(self, path: str, config: dict[str, Any], kind: str, device_id: str) -> None:
        stated = int(parameter(config, "intra_op_thread_count", "0"))
        count = cores_of(config)
        chosen = providers(kind, device_id)
        self.joined = onnxruntime.InferenceSession(path, session_options(config, stated or count), providers=chosen)
        self.provider = self.joined.get_providers()[0]
        self.inputs = [node.name for node in self.joined.get_inputs()]
        self.outputs = [node.name for node in self.joined.get_outputs()]
        # Whoever states a number of threads gets one session with so many.
        self.cores: list[Core] = []
        if count > 1 and kind != "GPU" and not stated:
            self.cores = open_cores(count)
            self.single = onnxruntime.InferenceSession(path, session_options(config, 1), providers=chosen)
            self.dealer = Dealer(open_cores(count), lambda arrays: self.run_on(self.single, arrays))

    def run(self, arrays: Arrays) -> Arrays:
        """The outputs of one batch."""
        count = arrays[0].shape[0] if arrays[0].ndim else 0
        if not self.cores or not count:
            return self.run_on(self.joined, arrays)
        if count == 1:
            with most_of(self.cores) as free:
                if free:
                    return self.run_on(self.joined, arrays)
        answers = self.dealer.deal([[array[place : place + 1] for array in arrays] for place in range(count)])
        return [np.concatenate(pieces) for pieces in zip(*answers, strict=True)]

    def run_on(self, session: Any, arrays: Sequence[NDArray[Any]]) -> Arrays:
        """One call of ONNX Runtime."""
        results: Arrays = session.run(self.outputs, dict(zip(self.inputs, arrays, strict=True)))
        return results
