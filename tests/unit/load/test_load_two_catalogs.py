"""The parts of `load_tests.two_catalogs`: its schedule, its comparison of answers and its second embedder."""

import numpy as np
import onnx

from load_tests.two_catalogs.__main__ import schedule
from load_tests.two_catalogs.answers import Answer
from load_tests.two_catalogs.shops import DIMENSION, projected
from sightline_models.onnx_runtime import onnxruntime
from tests.support.tiny_models import echo_embedder

CALM = Answer("a@1", {"object-1": {"p1": 0.9, "p2": 0.5}})


def test_catalogs_take_turns_and_get_every_photo() -> None:
    one, both = schedule(10.0, 2.0, 3, 1), schedule(10.0, 2.0, 3, 2)
    assert [due.request for due in one[:5]] == [0, 1, 2, 0, 1]
    assert [due.request for due in both[:7]] == [0, 3, 1, 4, 2, 5, 0]
    assert [due.at for due in one] == [due.at for due in both]


def test_an_answer_of_another_embedder_differs() -> None:
    assert not CALM.differs_from(CALM)
    assert not Answer("a@1", {"object-1": {"p1": 0.9005, "p3": 0.49}}).differs_from(CALM)
    assert Answer("b@1", CALM.similarities).differs_from(CALM)
    assert Answer("a@1", {"object-1": {"p1": 0.8}}).differs_from(CALM)
    assert Answer("a@1", {}).differs_from(CALM)


def test_the_second_embedder_has_projections_of_the_first() -> None:
    first = echo_embedder(10)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 10, 10, 3), np.uint8)
    session = onnxruntime.InferenceSession(first.SerializeToString())
    (whole,) = session.run(None, {"CROPS": pixels})
    second = projected(onnx.ModelProto.FromString(first.SerializeToString())).SerializeToString()
    (found,) = onnxruntime.InferenceSession(second).run(None, {"CROPS": pixels})
    assert found.shape == (3, DIMENSION) and whole.shape == (3, 300)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
