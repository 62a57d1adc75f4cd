"""The vector of an image and a text together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.geometry import Box
from sightline_server.domain.items import EmbeddedObject, ObjectSource, PhotoObject
from sightline_server.stages.combine import combined

ITEM = PhotoObject("o1", Box.whole(), ObjectSource.BOX)


def unit(*numbers: float) -> np.ndarray:
    found = np.array(numbers, np.float32)
    return found / np.float32(np.linalg.norm(found))


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, unit(1, 0)), (1.0, unit(0, 1)), (0.5, unit(1, 1)), (0.25, unit(3, 1))]
)
def test_the_weight_moves_the_vector_from_the_image_to_the_text(weight: float, expected: np.ndarray) -> None:
    (found,) = combined([EmbeddedObject(ITEM, unit(1, 0))], unit(0, 1), weight)
    assert found.item is ITEM and found.embedding.dtype == np.float32
    np.testing.assert_allclose(found.embedding, expected, rtol=0, atol=1e-7)


@given(seed=st.integers(0, 1000), weight=st.floats(0, 1), dimension=st.integers(2, 64), count=st.integers(0, 3))
def test_every_vector_has_length_one(seed: int, weight: float, dimension: int, count: int) -> None:
    random = np.random.default_rng(seed)
    objects = [EmbeddedObject(ITEM, unit(*random.normal(size=dimension))) for _ in range(count)]
    found = combined(objects, unit(*random.normal(size=dimension)), weight)
    assert len(found) == count
    for each in found:
        assert float(np.linalg.norm(each.embedding)) == pytest.approx(1, abs=1e-5)


def test_opposite_vectors_have_no_direction_together() -> None:
    objects = [EmbeddedObject(ITEM, unit(-1, 0)), EmbeddedObject(ITEM, unit(0, 1))]
    found = combined(objects, unit(1, 0), 0.5)
    assert len(found) == 1
