"""The stages in which calls were cancelled: none is forgotten, and the time between two stages counts for both."""

from load_tests.scenarios.abandon import around
from sightline_server.domain.stages import STAGES
from sightline_server.telemetry.stopwatch import PLACES


def test_every_place_of_the_server_is_shown() -> None:
    for place in PLACES:
        shown = around({other: int(other == place) for other in PLACES})
        assert sum(shown.values()) >= 1, place


def test_between_two_stages_is_after_the_one_and_before_the_other() -> None:
    shown = around({place: number for number, place in enumerate(PLACES, start=1)})
    left = dict(zip(PLACES, range(1, 100), strict=False))
    assert shown["after crop"] == shown["before embed"] == left["embed", "before"]
    assert shown["after decode"] == left["decode", "after"] + left["detect", "before"]
    assert shown["after search"] == left["rank", "after"]
    optional = {stage.name for stage in STAGES if stage.optional}
    assert optional
    for name, moment in PLACES:
        if name in optional:
            assert shown[f"{moment} {name}"] == left[name, moment]
    assert len(shown) == 26
