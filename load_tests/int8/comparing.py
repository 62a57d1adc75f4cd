"""Answers of a detector in float32 and in int8, compared by the limits of the gate of bf16, and the time of an image.

Rule: CPU time of this thread, in turns, because no machine is quiet.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.embedded.precision_gate import CLEAR_SCORE, Answers, found_again, of_image, overlaps

OUTPUTS = ("BOXES", "SCORES", "LABELS")
SAME_OBJECT = 0.5
"""IoU from which a box counts as that of the same object, when changes of scores are counted."""
Images = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Difference:
    """The boxes of some images in one precision, sought among those of the other one.

    kept, clear: boxes of float32 that are found again within the gate's limits, and all with a clear score.
    back, shown: the same in the other direction. lost: boxes whose object has no box of the same label.
    score_changes: of the others, int8 less float32.
    """

    kept: int
    clear: int
    back: int
    shown: int
    lost: int
    score_changes: tuple[float, ...]

    @property
    def same(self) -> bool:
        """The gate's verdict."""
        return bool(self.clear) and self.kept == self.clear and self.back == self.shown

    def line(self) -> str:
        """The comparison as a phrase."""
        changes = np.abs(self.score_changes) if self.score_changes else np.zeros(1)
        return (
            f"{self.kept} of {self.clear} found again, {self.back} of {self.shown} in the other direction, "
            f"{self.lost} lost, scores by {changes.mean():.3f} (at most {changes.max():.3f})"
        )


def answers(session: Any, images: Images) -> dict[str, NDArray[Any]]:
    """The outputs for each image, run one by one: `BOXES` [N,K,4], `SCORES` [N,K], `LABELS` [N,K]."""
    name = session.get_inputs()[0].name
    each = [session.run(OUTPUTS, {name: image[None]}) for image in images]
    return dict(zip(OUTPUTS, (np.concatenate(arrays) for arrays in zip(*each, strict=True)), strict=True))


def difference(float32: Answers, int8: Answers) -> Difference:
    """Compares the boxes of N images."""
    kept = clear = back = shown = lost = 0
    changes: list[float] = []
    for place in range(len(float32["SCORES"])):
        one, other = of_image(float32, place), of_image(int8, place)
        counts = (*found_again(one, other), *found_again(other, one))
        kept, clear, back, shown = (
            total + more for total, more in zip((kept, clear, back, shown), counts, strict=True)
        )
        for box in np.flatnonzero(one["SCORES"] >= CLEAR_SCORE):
            same_label = other["LABELS"] == one["LABELS"][box]
            near = overlaps(one["BOXES"][box], other["BOXES"][same_label]) >= SAME_OBJECT
            by = other["SCORES"][same_label][near] - one["SCORES"][box]
            if by.size:
                changes.append(float(by[np.abs(by).argmin()]))
            else:
                lost += 1
    return Difference(kept, clear, back, shown, lost, tuple(changes))


def times_ms(sessions: Mapping[str, Any], image: NDArray[np.uint8], turns: int) -> dict[str, tuple[float, float]]:
    """The shortest and the median CPU time of an image in milliseconds for each session, all of them in turn."""
    found: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(turns):
        for name, session in sessions.items():
            began = time.thread_time()
            session.run(OUTPUTS, {session.get_inputs()[0].name: image[None]})
            found[name].append(1000 * (time.thread_time() - began))
    return {name: (min(each), statistics.median(each)) for name, each in found.items()}
