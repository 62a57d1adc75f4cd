"""A model on a GPU as several sessions, one for each of a few batch sizes; a batch is padded to the next size.

ONNX Runtime's CUDA provider builds the plan of every convolution again whenever a session gets another batch size than
in the call before (onnxruntime issue 23006). Measured on an H100 with the default embedder: 500 ms for a call that
takes 2 ms otherwise, and nearly every batch has another size than the last.
Rule: a session gets batches of one size only; each has run once before the model counts as loaded.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from model_cores import Arrays
from numpy.typing import NDArray

STEPS = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes below a model's largest. Each session has its own memory: with 11 sizes up to 64 the two default
models took 15.7 GB of an H100's memory. A padded batch costs at most what the next size costs."""
DTYPES = {
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}


def batch_sizes(largest: int) -> tuple[int, ...]:
    """The sizes of the sessions of a model whose largest batch is `largest`, in ascending order."""
    return (*(size for size in STEPS if size < largest), largest)


class FixedBatches:
    """The sessions of one model, used like a single ONNX Runtime session. Not for several threads at once."""

    def __init__(self, open_session: Callable[[], Any], largest: int) -> None:
        """Opens a session for each batch size up to `largest` and runs each once, the largest first."""
        self._sessions = {size: open_session() for size in reversed(batch_sizes(largest))}
        self._largest = largest
        for size, session in self._sessions.items():
            if (blank := blank_batch(session, size)) is not None:
                session.run(None, blank)

    def get_providers(self) -> list[str]:
        """The providers of the sessions, which are the same for all."""
        providers: list[str] = self._sessions[self._largest].get_providers()
        return providers

    def get_inputs(self) -> list[Any]:
        """The model's inputs, as ONNX Runtime describes them."""
        inputs: list[Any] = self._sessions[self._largest].get_inputs()
        return inputs

    def get_outputs(self) -> list[Any]:
        """The model's outputs, as ONNX Runtime describes them."""
        outputs: list[Any] = self._sessions[self._largest].get_outputs()
        return outputs

    def run(self, outputs: Sequence[str] | None, feed: dict[str, NDArray[Any]]) -> Arrays:
        """The outputs of a batch, in parts of the largest size where it is larger.

        A batch of zeros only is sent to overwrite what earlier batches left in the device's memory, and every session
        has its own memory: it runs in all those that are not larger.
        """
        count = len(next(iter(feed.values())))
        if count > self._largest:
            firsts = range(0, count, self._largest)
            parts = [self.run(outputs, part_of(feed, first, first + self._largest)) for first in firsts]
            return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        if is_blank(feed):
            for size in self._sessions:
                if size < count:
                    self._sessions[size].run(outputs, part_of(feed, 0, size))
        size = min(each for each in self._sessions if each >= count)
        results: Arrays = self._sessions[size].run(outputs, {name: padded(a, size) for name, a in feed.items()})
        return [array[:count] for array in results]


def part_of(feed: dict[str, NDArray[Any]], first: int, end: int) -> dict[str, NDArray[Any]]:
    """The samples from `first` to before `end` of every input."""
    return {name: array[first:end] for name, array in feed.items()}


def padded(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The array with samples of zeros appended, up to `size`; the array itself where it has as many."""
    if len(array) == size:
        return array
    wider = np.zeros((size, *array.shape[1:]), array.dtype)
    wider[: len(array)] = array
    return wider


def is_blank(feed: dict[str, NDArray[Any]]) -> bool:
    """Returns whether all inputs are zeros; a first sample with other values decides it quickly."""
    return not any(array[:1].any() or array.any() for array in feed.values())


def blank_batch(session: Any, size: int) -> dict[str, NDArray[Any]] | None:
    """Zeros for every input of the session; None where a dimension besides the batch is open."""
    feed = {}
    for node in session.get_inputs():
        dims = node.shape[1:]
        if node.type not in DTYPES or not all(isinstance(dim, int) and dim > 0 for dim in dims):
            return None
        feed[node.name] = np.zeros((size, *dims), DTYPES[node.type])
    return feed
