"""Scenario files, requests and the report page."""

from collections import Counter
from pathlib import Path

import pytest

from load_tests.generator.caller import METHOD
from load_tests.generator.photos import Photos, bad_requests
from load_tests.generator.records import CODES, to_run
from load_tests.observe.holdings import Holding, Look, growth, rss_slopes
from load_tests.report.document import charts, page
from load_tests.report.plots import Axis, Series, chart
from load_tests.scenarios.scenario import known, read_scenario
from sightline.v1 import lens_service_pb2

NAMES = {"steady", "ramp", "spike", "overload", "soak", "abandon", "slow_reader", "hostile"}


def test_every_scenario_of_the_package_reads() -> None:
    assert set(known()) == NAMES
    assert all(read_scenario(name).about and read_scenario(name).thresholds for name in known())


def test_an_unknown_scenario_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="overload"):
        read_scenario("nonsense")


def test_a_scenario_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text('about = "x"\nspeed = 3\n')
    with pytest.raises(ValueError, match="speed"):
        read_scenario(str(path))


def test_the_spike_is_ten_times_the_load_before_it_and_lasts_30_s() -> None:
    before, spike, _ = read_scenario("spike").phases
    assert spike.start_rate == pytest.approx(10 * before.start_rate)
    assert spike.seconds == 30


def test_loads_become_rates_of_what_the_server_can_do() -> None:
    assert len(read_scenario("overload").lasting(10.0).calls(8.0, good=3, bad=1)) == 240


def test_hostile_mixes_bad_requests_in_and_keeps_the_good_ones() -> None:
    due = read_scenario("hostile").calls(10.0, good=3, bad=4)
    counts = Counter(call.request >= 3 for call in due)
    assert counts[True] == pytest.approx(len(due) / 2, rel=0.15)
    assert {call.request for call in due} == set(range(7))


def test_slow_readers_are_a_third() -> None:
    due = read_scenario("slow_reader").calls(10.0, good=3, bad=4)
    assert sum(call.manner.pause_s > 0 for call in due) == pytest.approx(len(due) / 3, rel=0.2)


def test_the_raw_method_is_the_contracts() -> None:
    service = lens_service_pb2.DESCRIPTOR.services_by_name["LensService"]
    assert f"/{service.full_name}/{service.methods_by_name['Search'].name}" == METHOD


def test_good_requests_parse_and_one_bad_one_does_not() -> None:
    photos = Photos(("a.jpg",), (b"\xff\xd8\xff" + b"x" * 40,))
    parsed = lens_service_pb2.SearchRequest.FromString(photos.requests[0])
    assert parsed.photo == photos.encoded[0]
    assert len(photos.digest) == 16
    unreadable = 0
    for request in bad_requests(photos.encoded):
        try:
            lens_service_pb2.SearchRequest.FromString(request)
        except Exception:
            unreadable += 1
    assert unreadable == 1


def test_the_page_holds_its_charts_and_nothing_from_elsewhere() -> None:
    rows = [
        (t / 10, t / 10, t / 10, t / 10, t / 10 + 0.2, t / 10 + 0.2, CODES.index("OK"), 2, 0, 0, 0) for t in range(80)
    ]
    run = to_run([(*row,) for row in rows], seconds=8.0, cpu_s=0.1)
    html = page(
        {
            "scenario": "<steady>",
            "about": "70 %",
            "photos_sha256": "0" * 16,
            "valid": True,
            "thresholds": [{"figure": "p99_ms", "bound": "<= 5", "found": None, "holds": False}],
            "figures": {"p99_ms": 200.0},
            "codes": run.codes,
            "charts": charts(read_scenario("steady"), run, [], []),
        }
    )
    assert html.count("<svg") == 3
    assert "&lt;steady&gt;" in html
    assert "<script" not in html
    assert "http" not in html


def test_a_chart_without_points_is_left_out() -> None:
    assert chart("empty", [Series("none", [])], x="s", y="ms") == ""


def test_a_logarithmic_axis_gives_each_decade_the_same_room() -> None:
    axis = Axis(1.0, 100.0, 0.0, 200.0, logarithmic=True)
    assert [axis.place(value) for value in (1.0, 10.0, 100.0)] == [0.0, 100.0, 200.0]


def look_at(minute: float, rss_mb: float) -> Look:
    return Look(minute * 60, {"server": Holding(int(rss_mb * (1 << 20)), 10, 5, 1.0)}, 0)


def test_growth_and_slope_of_memory() -> None:
    looks = [look_at(minute / 2, 100 + minute) for minute in range(20)]
    assert growth(looks[0], looks[-1])["server"]["rss_mb"] == 19
    assert rss_slopes(looks, skip=1 / 3)["server"] == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("phase", [0.0, 0.4, 0.8])
def test_memory_that_comes_and_goes_has_the_slope_of_its_least(phase: float) -> None:
    """Teeth of 100 MB every 100 s, as merges make them, on memory that grows by 0.5 MB a minute."""
    looks = [look_at(step / 12, 400 + 0.5 * step / 12 + 100 * ((step / 20 + phase) % 1)) for step in range(240)]
    assert rss_slopes(looks, skip=1 / 3, window_s=120.0)["server"] == pytest.approx(0.5, abs=0.25)


def test_memory_that_only_grows_shows_in_windows_too() -> None:
    looks = [look_at(step / 12, 400 + 2 * step / 12) for step in range(240)]
    assert rss_slopes(looks, skip=0.0, window_s=120.0)["server"] == pytest.approx(2.0, abs=0.05)


def test_a_short_run_has_no_slope() -> None:
    assert rss_slopes([look_at(0.0, 1), look_at(0.5, 2), look_at(1.0, 3)], skip=0.0) == {}
