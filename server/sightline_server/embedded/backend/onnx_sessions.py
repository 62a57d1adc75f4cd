"""A model in ONNX Runtime: its sessions, their options, and how a batch goes through them."""

import math
import os
from concurrent.futures import Future
from typing import Any

from bf16_sessions import BF16, FLOAT32, open_bf16
from fixed_batches import FixedBatches
from model_cores import Arrays, Core, Dealer, Together, open_cores
from onnx_runtime import onnxruntime


def parameter(config: dict[str, Any], key: str, default: str) -> str:
    """A string parameter of a model's configuration."""
    return str(config.get("parameters", {}).get(key, {}).get("string_value", default))


ALGORITHM_SEARCHES = {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"}
"""cuDNN's methods of choosing the algorithm of a convolution, by the numbers that the native backend reads."""


def providers(kind: str, device_id: str, config: dict[str, Any]) -> list[Any]:
    """ONNX Runtime's providers for an instance of `kind`, first choice first.

    Raises KeyError for an unknown `cudnn_conv_algo_search`.
    """
    if kind == "GPU":
        # An exhaustive search tries every algorithm of every convolution for each batch size: it is for who can wait.
        search = ALGORITHM_SEARCHES[parameter(config, "cudnn_conv_algo_search", "1")]
        # Each batch size has a session, and each session would round its memory up to a power of two.
        memory = {"arena_extend_strategy": "kSameAsRequested"}
        options = {"device_id": int(device_id), "cudnn_conv_algo_search": search, **memory}
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


class Sessions:
    """The model in ONNX Runtime: on a GPU a session for each batch size, on a CPU one of all cores and one of a single
    thread.

    On a CPU a batch costs as much as its images one by one, so its images are best run on a core each; all cores are
    joined for an image that is alone on the machine.
    """

    def __init__(self, path: str, config: dict[str, Any], kind: str, device_id: str, *, bf16: bool = False) -> None:
        """`bf16` has an effect on a CPU only."""
        stated = int(parameter(config, "intra_op_thread_count", "0"))
        count = cores_of(config)
        chosen = providers(kind, device_id, config)
        options = session_options(config, stated or count)
        largest = int(config.get("max_batch_size", 0))
        self.precision = BF16 if bf16 and kind != "GPU" else FLOAT32

        def open_session() -> Any:
            if self.precision == BF16:
                return open_bf16(path, stated or count)
            return onnxruntime.InferenceSession(path, options, providers=chosen)

        self.joined = FixedBatches(open_session, largest) if kind == "GPU" and largest else open_session()
        self.provider = self.joined.get_providers()[0]
        self.inputs = [node.name for node in self.joined.get_inputs()]
        self.outputs = [node.name for node in self.joined.get_outputs()]
        self.whole = Dealer([Core(None)], self.run_whole)
        # A configured number of threads gives one session with so many.
        self.dealt = count > 1 and kind != "GPU" and not stated
        if self.dealt:
            self.together = Together(open_cores(count))
            # Each core's thread calls it, so in bf16 it has a stream of one thread for each.
            self.single = (
                open_bf16(path, count, count)
                if self.precision == BF16
                else onnxruntime.InferenceSession(path, session_options(config, 1), providers=chosen)
            )
            self.dealer = Dealer(open_cores(count), lambda arrays: self.run_on(self.single, arrays))

    def submit(self, arrays: Arrays, limit: float = math.inf) -> "Future[Arrays]":
        """The outputs of one batch, which follow: nothing runs in the calling thread.

        From the instant `limit` of the monotonic clock on, no caller waits for them, and a piece that has not begun
        does not begin: the outcome is then a `TimeoutError`.
        """
        outcome: Future[Arrays]
        count = arrays[0].shape[0] if arrays[0].ndim else 0
        if self.dealt and count == 1 and self.together.take_now():
            try:
                # It begins now, whatever its limit: only a run gives the cores back.
                outcome = self.whole.deal([arrays])
            except BaseException:
                self.together.give()
                raise
        elif self.dealt and count:
            pictures = [[array[place : place + 1] for array in arrays] for place in range(count)]
            outcome = self.dealer.deal(pictures, limit)
        else:
            outcome = self.whole.deal([arrays], limit)
        return outcome

    def run_whole(self, arrays: Arrays) -> Arrays:
        """One call on all cores, which are free again when its outcome is reported."""
        try:
            return self.run_on(self.joined, arrays)
        finally:
            if self.dealt:
                self.together.give()

    def run_on(self, session: Any, arrays: Arrays) -> Arrays:
        """One call of ONNX Runtime."""
        results: Arrays = session.run(self.outputs, dict(zip(self.inputs, arrays, strict=True)))
        return results
