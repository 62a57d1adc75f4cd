"""Triton's description of its models compared with the contract."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightline_server.domain.models import BatchCost
from sightline_server.domain.preprocess import DETECTOR_PREPROCESS
from sightline_server.domain.search_defaults import SearchDefaults
from sightline_server.domain.vocabulary import DEFAULT_VOCABULARY
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.faults import EngineError
from sightline_server.triton.specs import DETECTOR_CONTRACT, EMBEDDER_CONTRACT, read_detector, read_embedder


def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    # Triton's JSON gives 64-bit numbers as text.
    return {"name": name, "datatype": datatype, "shape": [str(size) for size in shape]}


def detector_metadata() -> dict[str, Any]:
    return {
        "versions": ["9", "10"],
        "inputs": [tensor("IMAGES", "UINT8", -1, 416, 320, 3)],
        "outputs": [
            tensor("LABELS", "INT32", -1, 100),
            tensor("BOXES", "FP32", -1, 100, 4),
            tensor("SCORES", "FP32", -1, 100),
        ],
    }


def embedder_metadata() -> dict[str, Any]:
    return {
        "versions": ["1"],
        "inputs": [tensor("CROPS", "UINT8", -1, 260, 260, 3)],
        "outputs": [tensor("EMBEDDINGS", "FP32", -1, 1280)],
    }


def config(**parameters: str) -> dict[str, Any]:
    return {"max_batch_size": 16, "parameters": {key: {"string_value": value} for key, value in parameters.items()}}


def test_a_detector_is_read_from_metadata_and_parameters() -> None:
    live = config(labels='["chair", "vase"]', preprocess='{"fill": 114}', name="tiny")
    spec = read_detector("detector", detector_metadata(), live, "abc")
    assert (spec.name, spec.version, spec.height, spec.width) == ("tiny", "10", 416, 320)
    assert (spec.max_detections, spec.labels, spec.max_batch_size) == (100, ("chair", "vase"), 16)
    assert (spec.preprocess, spec.sha256) == (replace(DETECTOR_PREPROCESS, fill=(114, 114, 114)), "abc")
    assert spec.vocabulary == DEFAULT_VOCABULARY


def test_an_embedder_is_read_and_its_digest_may_come_from_the_configuration() -> None:
    spec = read_embedder("embedder", embedder_metadata(), config(sha256="fed"), "")
    assert (spec.name, spec.height, spec.width, spec.dimension, spec.sha256) == ("embedder", 260, 260, 1280, "fed")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, SearchDefaults()),
        ({"search": '{"whole_photo_share": 0.8, "local_features": true}'}, SearchDefaults(0.8, True)),
        ({"search": '{"whole_photo_share": 1}'}, SearchDefaults(1.0, False)),
    ],
)
def test_defaults_of_searches_come_from_the_configuration(stated: dict[str, str], expected: SearchDefaults) -> None:
    spec = read_embedder("embedder", embedder_metadata(), config(**stated), "ab")
    assert spec.search == expected
    assert spec == read_embedder("embedder", embedder_metadata(), config(), "ab"), "it is the same model"


@pytest.mark.parametrize(
    ("groups", "cost"),
    [
        ([{"kind": "KIND_CPU", "count": 1}], BatchCost.LINEAR),
        ([{"kind": "KIND_CPU"}, {"kind": "KIND_CPU", "count": 2}], BatchCost.LINEAR),
        ([{"kind": "KIND_GPU", "gpus": [0]}], BatchCost.SHARED),
        ([{"kind": "KIND_CPU"}, {"kind": "KIND_GPU", "gpus": [0]}], BatchCost.SHARED),
        # What Triton has not resolved, and kinds of other devices.
        ([{"count": 1}], BatchCost.SHARED),
        ([{"kind": "KIND_MODEL"}], BatchCost.SHARED),
        ([], BatchCost.SHARED),
    ],
)
def test_only_an_embedder_on_a_cpu_has_batches_of_linear_cost(groups: list[dict[str, Any]], cost: BatchCost) -> None:
    spec = read_embedder("embedder", embedder_metadata(), config() | {"instance_group": groups}, "")
    assert spec.batch_cost is cost


def test_an_embedder_on_another_device_is_the_same_model() -> None:
    on_cpu = config() | {"instance_group": [{"kind": "KIND_CPU"}]}
    on_gpu = config() | {"instance_group": [{"kind": "KIND_GPU"}]}
    first, second = (read_embedder("embedder", embedder_metadata(), live, "ab") for live in (on_cpu, on_gpu))
    assert first.batch_cost is not second.batch_cost
    assert first == second


@pytest.mark.parametrize(
    ("group", "index", "found", "words"),
    [
        ("inputs", 0, None, ["IMAGES", "UINT8 [B,H,W,3]"]),
        ("inputs", 0, tensor("IMAGES", "FP32", -1, 3, 416, 320), ["IMAGES", "FP32 [-1,3,416,320]", "UINT8 [B,H,W,3]"]),
        ("inputs", 0, tensor("IMAGES", "UINT8", 1, 416, 320, 3), ["IMAGES", "[1,416,320,3]"]),
        ("inputs", 0, tensor("IMAGES", "UINT8", -1, -1, -1, 3), ["IMAGES", "[-1,-1,-1,3]"]),
        ("outputs", 1, None, ["BOXES", "FP32 [B,N,4]"]),
        ("outputs", 1, tensor("BOXES", "FP32", -1, 100, 5), ["BOXES", "[-1,100,5]"]),
        ("outputs", 0, tensor("LABELS", "INT64", -1, 100), ["LABELS", "INT64", "INT32"]),
        ("outputs", 2, tensor("SCORES", "FP32", -1, 99), ["SCORES", "[-1,99]"]),
        ("outputs", 2, tensor("SCORES", "FP32", -1), ["SCORES", "[-1]"]),
    ],
)
def test_a_detector_off_the_contract_is_refused_in_words(
    group: str, index: int, found: dict[str, Any] | None, words: list[str]
) -> None:
    metadata = detector_metadata()
    metadata[group][index : index + 1] = [found] if found else []
    with pytest.raises(SightlineError) as caught:
        read_detector("detector", metadata, config(labels='["chair"]'), "")
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert all(word in caught.value.message for word in ["detector", *words])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"labels": "chair"},
        {"labels": "[]"},
        {"labels": "[1]"},
        {"labels": "{}"},
        {"labels": '["a"]', "preprocess": "["},
        {"labels": '["a"]', "preprocess": '{"resize": "stretch"}'},
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(SightlineError, match=r"labels|preprocess") as caught:
        read_detector("detector", detector_metadata(), config(**parameters), "")
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_an_answer_of_the_wrong_type_or_rank_is_internal() -> None:
    good = np.zeros((2, 1280), np.float32)
    EMBEDDER_CONTRACT.check_answer({"EMBEDDINGS": good})
    for bad in (good.astype(np.float64), good[0], good[None]):
        with pytest.raises(SightlineError) as caught:
            EMBEDDER_CONTRACT.check_answer({"EMBEDDINGS": bad})
        assert caught.value.kind is ErrorKind.INTERNAL


def test_an_answer_without_one_of_its_outputs_is_the_engines_failure() -> None:
    boxes, labels = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2), np.int32)
    with pytest.raises(EngineError) as caught:
        DETECTOR_CONTRACT.check_answer({"BOXES": boxes, "SCORES": None, "LABELS": labels})
    assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
    assert caught.value.retry_after_s
    assert not caught.value.ended, "whether Triton still reads the call's memory is not known"


def test_sizes_and_values_of_an_answer_are_the_callers_to_judge() -> None:
    odd = np.full((7, 3), np.nan, np.float32)
    DETECTOR_CONTRACT.check_answer(
        {"BOXES": np.zeros((1, 2, 9), np.float32), "SCORES": odd, "LABELS": np.zeros((0, 0), np.int32)}
    )
