"""The figures of a server's turn, and how the turns of two servers become ratios.

Rule: only ratios and differences within a turn are compared; a machine that others use too changes between turns.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from load_tests.generator.records import Run, milliseconds

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FiguresT = TypeVar("FiguresT", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Figures:
    """One server's turn: milliseconds, a ratio, photos a second, CPU milliseconds of a photo, crops of a batch."""

    unloaded_p50_ms: float
    first_result_p50_ms: float
    first_over_whole: float
    unloaded_cpu_ms: float
    photos_per_s: float
    loaded_cpu_ms: float
    mean_embed_batch: float

    @classmethod
    def of(cls, alone: Run, alone_cpu_s: float, loaded: Run, loaded_cpu_s: float, batch: float) -> Self:
        """The figures of a run of one caller and one of several, with the CPU seconds of the server in each."""
        whole, first = alone.latency_s[alone.good], (alone.first - alone.intended)[alone.good]
        return cls(
            unloaded_p50_ms=milliseconds(whole, 50),
            first_result_p50_ms=milliseconds(first, 50),
            first_over_whole=round(float(np.median(first)) / float(np.median(whole)), 3),
            unloaded_cpu_ms=round(1e3 * alone_cpu_s / len(whole), 1),
            photos_per_s=round(float(loaded.good.sum()) / float(loaded.ended.max()), 3),
            loaded_cpu_ms=round(1e3 * loaded_cpu_s / float(loaded.good.sum()), 1),
            mean_embed_batch=batch,
        )


def compared(turns: Sequence[tuple[FiguresT, FiguresT]]) -> dict[str, dict[str, float]]:
    """Figure -> its medians before and after, and the median and range of after / before over the turns."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for before, after in turns:
        for name, value in asdict(before).items():
            columns.setdefault(name, []).append((value, getattr(after, name)))
    found = {}
    for name, pairs in columns.items():
        ratios = [after / before for before, after in pairs]
        found[name] = {
            "before": round(statistics.median(before for before, _ in pairs), 3),
            "after": round(statistics.median(after for _, after in pairs), 3),
            "ratio": round(statistics.median(ratios), 3),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        }
    return found
