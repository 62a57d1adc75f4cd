"""The flat index on the CPU: what it holds of the vectors that it is given."""

import numpy as np
import pytest

from sightline_server.index.faiss_index import FILLED_ROWS, FaissIndex
from tests.support.catalogs import unit_vectors


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("count", [0, 1, FILLED_ROWS, 2 * FILLED_ROWS + 1])
def test_it_holds_every_vector_with_length_one(count: int, dtype: type[np.floating]) -> None:
    vectors = (1.005 * unit_vectors(max(count, 1), 3))[:count].astype(dtype)
    index = FaissIndex(vectors, use_gpu=False)
    whole = vectors.astype(np.float32)
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    assert index.max_k == count
    assert np.allclose(index.copies(np.arange(count)), expected, atol=1e-6)
