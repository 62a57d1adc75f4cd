"""The milliseconds that looking for codes adds to a call, from the calls of two servers."""

import numpy as np

from load_tests.codes.added import by_photo, report
from load_tests.generator.records import CODES, Run


def run(*calls: tuple[int, float], code: str = "OK") -> Run:
    """A run of calls, each with its photo and its milliseconds."""
    photos = np.array([photo for photo, _ in calls], np.int64)
    seconds = np.array([milliseconds / 1e3 for _, milliseconds in calls])
    zeros, ones = np.zeros(len(calls)), np.ones(len(calls), np.int64)
    return Run(
        intended=zeros,
        sent=zeros,
        accepted=zeros,
        detected=zeros,
        first=seconds,
        ended=seconds,
        code=np.full(len(calls), CODES.index(code)),
        objects=ones,
        failures=0 * ones,
        request=photos,
        slow=0 * ones,
    )


def test_a_photo_counts_by_the_median_of_its_calls() -> None:
    found = by_photo([run((0, 100), (0, 900)), run((0, 110), (2, 50))], photos=3)
    assert np.isclose(found[[0, 2]], [110, 50]).all()
    assert np.isnan(found[1])


def test_what_is_added_is_the_difference_of_each_photo() -> None:
    found = report([(run((0, 100), (1, 200)), run((0, 104), (1, 206), (2, 80)))], photos=3)
    assert found["kept"]
    assert found["photos"] == 2, "a photo that only one side answered is not compared"
    assert found["added_ms"] == {"at_most": 10.0, "p50": 5.0, "p99": 5.98}
    assert found["call_ms"]["with"]["calls"] == 3


def test_a_photo_that_takes_too_long_and_a_call_without_an_answer_break_the_bound() -> None:
    assert not report([(run((0, 100), (1, 200)), run((0, 101), (1, 215)))], photos=2)["kept"]
    lost = report([(run((0, 100)), run((0, 100))), (run((0, 100)), run((0, 100), code="UNAVAILABLE"))], photos=1)
    assert (lost["unanswered"], lost["kept"]) == (1, False)
