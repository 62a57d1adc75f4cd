"""The host's own pace during a run."""

import pytest

from load_tests.observe.pace import Pace, by_minute, look_at_pace, of_host


def test_a_look_takes_the_cpu_time_of_its_work() -> None:
    look = look_at_pace()
    assert 0 < look.work_ms < 1000
    assert look.stolen_s >= 0


def test_a_host_that_slows_down_shows_in_the_last_third() -> None:
    paces = [Pace(10.0 + second, 6.0 if second < 220 else 9.0, 0.5 * max(0, second - 220)) for second in range(300)]
    assert of_host(paces) == pytest.approx(
        {
            "host_work_last_over_first_third": 1.5,
            "host_work_worst_over_best_minute": 1.5,
            "stolen_cores_first_third": 0.0,
            "stolen_cores_last_third": 0.5,
        },
        abs=0.02,
    )


def test_each_minute_says_what_the_host_took() -> None:
    paces = [Pace(float(second), 6.0, 0.25 * max(0, second - 60)) for second in range(150)]
    assert [round(minute["stolen_cores"], 1) for minute in by_minute(paces)] == [0.0, 0.2, 0.2]
    assert by_minute([]) == []


def test_one_slow_look_is_not_a_slow_minute() -> None:
    paces = [Pace(float(second), 60.0 if second == 290 else 6.0, 0.0) for second in range(300)]
    assert of_host(paces)["host_work_last_over_first_third"] == 1.0


@pytest.mark.parametrize("seconds", [0, 100])
def test_a_short_run_says_nothing_of_minutes(seconds: int) -> None:
    assert of_host([Pace(float(second), 6.0, 0.0) for second in range(seconds)]) == {}
