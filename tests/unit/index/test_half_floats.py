"""Vectors of float16 as float32: every number there is, whatever the layout of the array."""

import numpy as np
import pytest

from sightline_server.index.half_floats import float32, lengths

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)


def test_every_number_is_the_one_that_numpy_converts_to() -> None:
    np.testing.assert_array_equal(float32(EVERY), EVERY.astype(np.float32))


@pytest.mark.parametrize(
    "vectors",
    [EVERY[:0], EVERY[3:5], EVERY[::7], EVERY[:, :13], EVERY.astype(np.float32)],
    ids=["none", "some rows", "every seventh row", "some columns", "float32"],
)
def test_a_part_is_converted_as_it_lies_in_memory(vectors: np.ndarray) -> None:
    found = float32(vectors)
    np.testing.assert_array_equal(found, vectors.astype(np.float32))
    assert found.dtype == np.dtype(np.float32)
    assert found.flags.owndata


def test_lengths_are_those_of_numpy_and_a_number_that_is_not_finite_shows() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 33)).astype(np.float32)
    np.testing.assert_allclose(lengths(vectors), np.linalg.norm(vectors, axis=1), rtol=1e-6)
    vectors[1, 2], vectors[4, 5] = np.nan, np.inf
    assert np.flatnonzero(~np.isfinite(lengths(vectors))).tolist() == [1, 4]
