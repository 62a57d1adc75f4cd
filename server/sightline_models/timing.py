"""CPU milliseconds that a model takes for one image on this machine, for the lines of `models use`.

Place in the flow: a model file -> ONNX Runtime on one thread -> the median. The one rule: it measures CPU time and not
the clock's, because other programs may use the machine.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from sightline_models.check import open_session
from sightline_models.images import still_life

RUNS, WARM_RUNS = 7, 2


def cpu_ms(path: Path) -> float:
    """CPU milliseconds of one image: the median of some runs on one thread, in float32.

    Raises:
        ModelError: ONNX Runtime is missing or cannot load the file.
    """
    session = open_session(path, threads=1)
    first = session.get_inputs()[0]
    _, height, width, _ = first.shape
    image = np.ascontiguousarray(still_life(max(height, width))[:height, :width])
    feed = {first.name: image[np.newaxis]}
    return statistics.median([_run_ms(session, feed) for _ in range(WARM_RUNS + RUNS)][WARM_RUNS:])


def _run_ms(session: Any, feed: dict[str, Any]) -> float:
    begun = time.process_time()
    session.run(None, feed)
    return 1e3 * (time.process_time() - begun)
