"""The steps that the files of transformers and timm state, as the server executes them."""

from collections.abc import Mapping
from typing import Any

import pytest

from sightline_models.adoption import Normalization
from sightline_models.errors import ModelError
from sightline_models.input_steps import InputSteps, of_timm, of_transformers, settle
from sightline_server.domain.preprocess import EMBEDDER_PREPROCESS, parse_preprocess

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
UNIT = Normalization((0, 0, 0), (1, 1, 1))
MEANS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SHARED = {"do_resize": True, "do_rescale": True, "rescale_factor": 0.00392156862745098, "do_normalize": True}

PROCESSORS: Mapping[str, tuple[Mapping[str, Any], InputSteps]] = {
    "SigLIP2": (
        {**SHARED, **HALVES, "resample": 2, "size": {"height": 384, "width": 384}, "do_convert_rgb": None},
        InputSteps((384, 384), HALF, {"resize": "squash", "resample": "bilinear"}),
    ),
    "DINOv2": (
        {
            **SHARED,
            **MEANS,
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224},
            "size": {"shortest_edge": 256},
        },
        InputSteps(
            (224, 224),
            IMAGENET,
            {"resize": "shortest-edge + center-crop", "shortest_edge": 256, "resample": "bicubic"},
        ),
    ),
    "DINOv3": (
        {
            **SHARED,
            **MEANS,
            "resample": 2,
            "do_center_crop": None,
            "crop_size": None,
            "do_pad": None,
            "size": {"height": 224, "width": 224, "shortest_edge": None},
        },
        InputSteps((224, 224), IMAGENET, {"resize": "squash", "resample": "bilinear"}),
    ),
    "an old CLIP": (
        {"do_resize": True, "do_center_crop": True, "do_normalize": True, "size": 224, "crop_size": 224}
        | {**MEANS, "resample": 3},
        InputSteps((224, 224), IMAGENET, {"resize": "shortest-edge", "resample": "bicubic"}),
    ),
    "RT-DETR": (
        {**SHARED, **MEANS, "do_normalize": False, "do_pad": False, "resample": 2}
        | {"size": {"height": 640, "width": 640}},
        InputSteps((640, 640), UNIT, {"resize": "squash", "resample": "bilinear"}),
    ),
    "levels of 0..255 in BGR": (
        {"do_rescale": False, "do_normalize": False, "do_flip_channel_order": True, "resample": 1}
        | {"size": {"height": 8, "width": 6}},
        InputSteps(
            (8, 6),
            Normalization((0, 0, 0), (1, 1, 1), 1),
            {"resize": "squash", "resample": "lanczos", "color": "BGR"},
        ),
    ),
    "DETR, whose size depends on the image": (
        {**SHARED, **MEANS, "resample": 2, "size": {"shortest_edge": 800, "longest_edge": 1333}},
        InputSteps(None, IMAGENET, None),
    ),
    "a stretched image with a crop": (
        {**SHARED, **MEANS, "resample": 3, "do_center_crop": True}
        | {"crop_size": {"height": 224, "width": 224}, "size": {"height": 256, "width": 256}},
        InputSteps((224, 224), IMAGENET, None),
    ),
    "a filter that the server has not": (
        {**SHARED, **HALVES, "resample": 5, "size": {"height": 224, "width": 224}},
        InputSteps((224, 224), HALF, None),
    ),
    "means in the code alone": (
        {"do_normalize": True, "resample": 2, "size": {"height": 224, "width": 224}},
        InputSteps((224, 224), None, {"resize": "squash", "resample": "bilinear"}),
    ),
    "padding": ({**SHARED, **MEANS, "do_pad": True, "resample": 2, "size": 224}, InputSteps(None, IMAGENET, None)),
    "ConvNeXt": ({**SHARED, **MEANS, "crop_pct": 0.875, "size": {"shortest_edge": 224}}, InputSteps()),
    "no size": ({**SHARED, **MEANS, "do_resize": False}, InputSteps(None, IMAGENET, None)),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_processor_of_transformers_is_read(name: str) -> None:
    facts, expected = PROCESSORS[name]
    assert of_transformers(facts) == expected


TIMM = {
    "input_size": (3, 256, 256),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "center",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"resize": "shortest-edge", "resample": "bicubic"}),
        (
            {"crop_pct": 0.95, "interpolation": "random"},
            {"resize": "shortest-edge + center-crop", "shortest_edge": 269, "resample": "bilinear"},
        ),
        ({"crop_mode": "squash"}, {"resize": "squash", "resample": "bicubic"}),
        ({"crop_mode": "squash", "crop_pct": 0.9}, None),
        ({"crop_mode": "border"}, {"resize": "letterbox", "fill": [124, 116, 104], "resample": "bicubic"}),
        ({"interpolation": "hamming"}, None),
        ({"input_size": (3, 256, 128)}, None),
    ],
)
def test_a_data_configuration_of_timm_is_read(change: Mapping[str, Any], expected: Mapping[str, object] | None) -> None:
    facts = {**TIMM, **change}
    found = of_timm(facts)
    assert found.preprocess == expected
    assert (found.size, found.normalization) == (tuple(facts["input_size"][1:]), IMAGENET)


@pytest.mark.parametrize(
    "steps", [expected for _, expected in PROCESSORS.values() if expected.preprocess and expected.size]
)
def test_the_server_executes_what_was_read(steps: InputSteps) -> None:
    assert steps.preprocess is not None and steps.size is not None
    height, width = steps.size
    read = parse_preprocess("mine", steps.preprocess, width, height, EMBEDDER_PREPROCESS)
    assert read.fit.value == steps.preprocess["resize"]


def test_the_operator_states_what_no_file_does() -> None:
    for known, option in (
        (InputSteps(), "--size"),
        (InputSteps((8, 8)), "--mean and --std"),
        (InputSteps((8, 8), UNIT), "--preprocess"),
    ):
        with pytest.raises(ModelError, match=f"mine: .*{option}"):
            settle("mine", known, None, None, None)
    found = settle("mine", InputSteps((8, 8), UNIT, {"resize": "squash"}), (4, 6), HALF, '{"resize": "letterbox"}')
    assert (found.size, found.normalization, found.preprocess) == ((4, 6), HALF, '{"resize": "letterbox"}')
    assert settle("mine", InputSteps((8, 8), UNIT, {"resize": "squash"}), None, None, None).preprocess == (
        '{"resize": "squash"}'
    )
