"""The choice of the fastest way of using the machine as its limit."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from load_tests.direct import limit
from load_tests.direct.limit import Cell, LimitError, Reading
from load_tests.generator.photos import Photos
from sightline_server.errors import ErrorKind, SightlineError

TRUE_RATES = {Cell(1, 1, 2): 15.0, Cell(4, 1, 2): 13.0, Cell(4, 2, 1): 12.0, Cell(1, 1, 1): 9.0}


class FakeWorkers:
    """Processes that are as fast as `TRUE_RATES` says, but for their first reading."""

    def __init__(self, threads: int, processes: int) -> None:
        self.shape = threads, processes
        self.reads = 0

    def read(self, batch: int, seconds: float) -> Reading:
        self.reads += 1
        rate = TRUE_RATES[Cell(batch, *self.shape)]
        return Reading(rate / 2 if self.reads == 1 else rate, 4.5, 2000 / rate)


def test_a_cell_that_met_a_busy_host_once_is_the_limit_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeWorkers] = []

    @contextmanager
    def workers(*_: Any, threads: int, processes: int) -> Iterator[FakeWorkers]:
        made.append(FakeWorkers(threads, processes))
        yield made[-1]

    monkeypatch.setattr(limit, "workers", workers)
    grid = {cell: Reading(rate, 4.5, 2000 / rate) for cell, rate in TRUE_RATES.items()}
    grid[Cell(1, 1, 2)] = Reading(10.0, 4.5, 200.0)
    cell, reading = limit.decide(Path(), Path(), Photos((), ()), grid, seconds=1.0)
    assert cell == Cell(1, 1, 2)
    assert reading.photos_per_s == 15.0
    # Cells of one shape share their processes, and what was far behind is not read again.
    assert sorted(workers.shape for workers in made) == [(1, 2), (2, 1)]


def test_processes_that_cannot_start_are_an_error_at_once_and_none_is_left(tmp_path: Path) -> None:
    # No models are there: each process ends with its own traceback.
    with (
        pytest.raises(LimitError, match="ended; what it printed is above"),
        limit.workers(tmp_path, tmp_path, Photos(("a",), (b"",)), threads=1, processes=2),
    ):
        raise AssertionError("nothing can be measured")
    assert not multiprocessing.active_children()


def test_the_reason_of_a_process_is_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise SightlineError(ErrorKind.CONFIGURATION, "no catalog there")

    monkeypatch.setattr(limit, "DirectPath", refuses)
    ours, theirs = multiprocessing.Pipe()
    limit.work(theirs, Path(), Path(), (), 1)
    with pytest.raises(LimitError, match="no catalog there"):
        limit.answer(ours)
