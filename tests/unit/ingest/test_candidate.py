"""The decision on a candidate: what is kept, what is refused, and on which grounds."""

import numpy as np
import pytest

from sightline_server.ingest.adapting.candidate import Candidate, Grounds
from sightline_server.ingest.adapting.fitting import Method
from sightline_server.ingest.adapting.gain import Held, Spread
from sightline_server.ingest.adapting.paired import Paired

PHOTOS = 80


def paired(before: int, after: int, changed: int = PHOTOS, back: int = 0) -> Paired:
    """Ranks of which `changed` go from `before` to `after`, and `back` the other way."""
    places = np.arange(PHOTOS)
    first = np.where(places < changed, before, np.where(places < changed + back, after, 3))
    second = np.where(places < changed, after, np.where(places < changed + back, before, 3))
    return Paired(first, second[np.newaxis], places.astype(np.int32))


GAIN, SAME, LOSS = paired(4, 2, 30), paired(3, 3), paired(2, 4, 30)
FALL = paired(2, 3, 10, back=9)
"""One photo fewer gains than loses, which is chance."""


def candidate(
    shown: Paired | None, new: Paired | None, *, method: Method = Method.HEAD, seen: float = 1.0, **about: float
) -> Candidate:
    spread = (Spread(9, 0.2), Spread(8, 0.1))
    held = Held(shown, (spread, spread), (0.7, 0.6), seen)
    return Candidate(method, held, new, bool(about.get("centring_gains", 0.0)), about.get("uncovered", 0.0))


@pytest.mark.parametrize(
    ("tried", "grounds", "kept"),
    [
        (candidate(GAIN, GAIN), Grounds.GAIN, True),
        (candidate(GAIN, SAME), Grounds.GAIN, True),
        (candidate(SAME, SAME), Grounds.NO_GAIN, False),
        (candidate(GAIN, LOSS), Grounds.LOSS, False),
        (candidate(GAIN, FALL), Grounds.GAIN, True),
        (candidate(GAIN, FALL, uncovered=0.1), Grounds.GAIN, True),
        (candidate(GAIN, FALL, uncovered=0.5), Grounds.LOSS, False),
        (candidate(GAIN, SAME, uncovered=0.5), Grounds.GAIN, True),
        (candidate(SAME, SAME, seen=0.0, centring_gains=1.0), Grounds.ASSUMED, True),
        (candidate(FALL, FALL, seen=0.0, centring_gains=1.0), Grounds.ASSUMED, True),
        (candidate(SAME, SAME, seen=0.0), Grounds.NO_GAIN, False),
        (candidate(LOSS, LOSS, seen=0.0, centring_gains=1.0), Grounds.LOSS, False),
        (candidate(SAME, SAME, seen=1.0, centring_gains=1.0), Grounds.NO_GAIN, False),
        (candidate(SAME, SAME, method=Method.CENTRED, seen=0.0, centring_gains=1.0), Grounds.NO_GAIN, False),
        (candidate(None, None, method=Method.CENTRED), Grounds.EVEN, True),
    ],
)
def test_a_candidate_is_kept_or_refused_on_its_grounds(tried: Candidate, grounds: Grounds, kept: bool) -> None:
    assert (tried.grounds, tried.is_kept) == (grounds, kept)
    facts = tried.facts()
    assert (facts["grounds"], facts["kept"]) == (grounds.value, kept)
