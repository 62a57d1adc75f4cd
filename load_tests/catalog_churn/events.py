"""Merges and checkpoints of a run, found from outside: `/metrics` is scraped while they happen.

Rule: a scrape that counts one more merge of s seconds says that it ran at some time within those s seconds and the time
since the scrape before. So a span may be too long by that time, and never too short.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray

from load_tests.observe.scrapes import Between, Scrape, scrape

EVERY_S = 0.5
MERGE, CHECKPOINT = "sightline_catalog_merge_seconds", "sightline_catalog_checkpoint_seconds"
Spans = Sequence[tuple[float, float]]


@dataclass(slots=True)
class Seen:
    """The scrapes of a run."""

    scrapes: list[Scrape]

    @property
    def whole(self) -> Between:
        """From the first scrape to the last."""
        return Between(self.scrapes[0], self.scrapes[-1])

    def spans(self, histogram: str) -> Spans:
        """Begin and end, by the monotonic clock, of what a histogram of seconds has observed."""
        pairs = [Between(*pair) for pair in zip(self.scrapes, self.scrapes[1:], strict=False)]
        return [
            (pair.before.at - pair.grown(f"{histogram}_sum"), pair.after.at)
            for pair in pairs
            if pair.grown(f"{histogram}_count")
        ]


@contextmanager
def scraped(url: str, every_s: float = EVERY_S) -> Iterator[Seen]:
    """Scrapes `url` during the block, and once more at its end."""
    seen, over = Seen([scrape(url)]), Event()

    def follow() -> None:
        while not over.wait(every_s):
            seen.scrapes.append(scrape(url))

    follower = Thread(target=follow, name="scrapes", daemon=True)
    follower.start()
    try:
        yield seen
    finally:
        over.set()
        follower.join()
        seen.scrapes.append(scrape(url))


def overlapping(begins: NDArray[np.float64], ends: NDArray[np.float64], spans: Spans) -> NDArray[np.bool_]:
    """A mask of the calls [N] of which some part is within one of `spans`."""
    hit = np.zeros(len(begins), bool)
    for begin, end in spans:
        hit |= (begins <= end) & (ends >= begin)
    return hit
