"""The preprocess of a model's configuration: every accepted value is typed, every other one is refused by name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_models.defaults import DETECTOR, EMBEDDER
from sightline_server.domain.preprocess import (
    DETECTOR_PREPROCESS,
    EMBEDDER_PREPROCESS,
    Align,
    Colour,
    Fit,
    Preprocess,
    Resampler,
    parse_preprocess,
)
from sightline_server.errors import ErrorKind, SightlineError

CROP = "shortest-edge + center-crop"


def parsed(facts: dict[str, object], default: Preprocess = DETECTOR_PREPROCESS) -> Preprocess:
    """The preprocess of a model with an input of 224 x 192 pixels."""
    return parse_preprocess("tiny", facts, 224, 192, default)


def test_the_default_models_have_the_defaults() -> None:
    assert parsed(dict(DETECTOR.preprocess)) == DETECTOR_PREPROCESS
    assert parsed(dict(EMBEDDER.preprocess)) == EMBEDDER_PREPROCESS
    assert DETECTOR_PREPROCESS.facts() == DETECTOR.preprocess
    assert EMBEDDER_PREPROCESS.facts() == EMBEDDER.preprocess


def test_what_is_left_out_has_the_roles_default() -> None:
    assert parsed({}) == DETECTOR_PREPROCESS
    assert parsed({}, EMBEDDER_PREPROCESS) == EMBEDDER_PREPROCESS


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"fill": 114}, replace(DETECTOR_PREPROCESS, fill=(114, 114, 114))),
        ({"fill": [0, 10, 255]}, replace(DETECTOR_PREPROCESS, fill=(0, 10, 255))),
        ({"align": "top-left", "color": "BGR"}, replace(DETECTOR_PREPROCESS, align=Align.TOP_LEFT, colour=Colour.BGR)),
        ({"resize": "squash", "resample": "nearest"}, Preprocess(Fit.SQUASH, Resampler.NEAREST)),
        ({"resize": "center-crop", "resample": "lanczos"}, Preprocess(Fit.CENTER_CROP, Resampler.LANCZOS)),
        ({"resize": "shortest-edge", "resample": "bicubic"}, Preprocess(Fit.SHORTEST_EDGE, Resampler.BICUBIC)),
        ({"resample": "pillow-bicubic"}, replace(DETECTOR_PREPROCESS, resampler=Resampler.BICUBIC)),
        ({"resample": "pillow-bilinear"}, replace(DETECTOR_PREPROCESS, resampler=Resampler.BILINEAR)),
        (
            {"resize": CROP, "shortest_edge": 256},
            Preprocess(Fit.SHORTEST_EDGE_CENTER_CROP, Resampler.AREA, shortest_edge=256),
        ),
        (
            {"resize": CROP, "crop_ratio": 0.875},
            Preprocess(Fit.SHORTEST_EDGE_CENTER_CROP, Resampler.AREA, shortest_edge=256),
        ),
    ],
)
def test_a_stated_value_is_typed(facts: dict[str, object], expected: Preprocess) -> None:
    assert parsed(facts) == expected


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"resize": "stretch"}, ["resize", "'stretch'", "letterbox", "squash", "center-crop", "shortest-edge"]),
        ({"resize": None}, ["resize", "None"]),
        ({"resize": ["squash"]}, ["resize", "squash"]),
        ({"resample": "cubic"}, ["resample", "'cubic'", "'area'", "'bicubic antialiased'", "'pillow-bicubic'"]),
        ({"resample": True}, ["resample", "True"]),
        ({"color": "GRAY"}, ["color", "'GRAY'", "'RGB'", "'BGR'"]),
        ({"color": "rgb"}, ["color", "'rgb'"]),
        ({"align": "bottom"}, ["align", "'bottom'", "'top-left'"]),
        ({"fill": 256}, ["fill", "256", "0..255"]),
        ({"fill": -1}, ["fill", "-1"]),
        ({"fill": 0.5}, ["fill", "0.5"]),
        ({"fill": True}, ["fill", "True"]),
        ({"fill": [1, 2]}, ["fill", "[1, 2]"]),
        ({"fill": "grey"}, ["fill", "'grey'"]),
        ({"resize": "squash", "fill": 114}, ["fill", "114", "letterbox", "squash"]),
        ({"resize": "center-crop", "align": "top-left"}, ["align", "letterbox"]),
        ({"shortest_edge": 256}, ["shortest_edge", CROP]),
        ({"resize": "shortest-edge", "crop_ratio": 0.9}, ["crop_ratio", CROP]),
        ({"resize": CROP}, ["shortest_edge", "crop_ratio", "exactly one"]),
        ({"resize": CROP, "shortest_edge": 256, "crop_ratio": 0.875}, ["exactly one"]),
        ({"resize": CROP, "shortest_edge": 223}, ["shortest_edge", "223", "224.."]),
        ({"resize": CROP, "shortest_edge": 100_000}, ["shortest_edge", "100000", "..896"]),
        ({"resize": CROP, "shortest_edge": 256.0}, ["shortest_edge", "256.0"]),
        ({"resize": CROP, "crop_ratio": 0}, ["crop_ratio", "0"]),
        ({"resize": CROP, "crop_ratio": 1.1}, ["crop_ratio", "1.1"]),
        ({"resize": CROP, "crop_ratio": float("nan")}, ["crop_ratio", "nan"]),
        ({"resize": CROP, "crop_ratio": "0.9"}, ["crop_ratio", "'0.9'"]),
        ({"fit": "squash"}, ["`fit`", "'resize'"]),
        ({"mean": [0.5, 0.5, 0.5]}, ["`mean`"]),
    ],
)
def test_an_unknown_value_is_refused_with_model_key_and_value(facts: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SightlineError) as caught:
        parsed(facts)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert all(word in caught.value.message for word in ["model tiny", "config.pbtxt", *words]), caught.value.message


FACTS = st.fixed_dictionaries(
    {"resample": st.sampled_from(list(Resampler)), "color": st.sampled_from(["RGB", "BGR"])}
).flatmap(
    lambda common: st.one_of(
        st.fixed_dictionaries(
            {
                "resize": st.just("letterbox"),
                "fill": st.one_of(st.integers(0, 255), st.lists(st.integers(0, 255), min_size=3, max_size=3)),
                "align": st.sampled_from(["center", "top-left"]),
            }
        ),
        st.sampled_from([{"resize": "squash"}, {"resize": "center-crop"}, {"resize": "shortest-edge"}]),
        st.fixed_dictionaries({"resize": st.just(CROP), "shortest_edge": st.integers(224, 896)}),
        st.fixed_dictionaries({"resize": st.just(CROP), "crop_ratio": st.floats(0.25, 1.0)}),
    ).map(lambda fit: {**common, **fit})
)


@given(FACTS)
def test_facts_survive_being_parsed_and_written(facts: dict[str, object]) -> None:
    how = parsed(facts)
    assert parsed(how.facts(), EMBEDDER_PREPROCESS) == how
