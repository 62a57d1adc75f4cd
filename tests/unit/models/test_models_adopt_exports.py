"""Exports of PyTorch, adopted: the families that `docs/guide/models.md` names, with random weights.

`tests/congruence/exported_samples.py` made the files and PyTorch's answers; no PyTorch is needed here.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.support.adopted import SAMPLES, adopt_sample, answers, distances
from tests.support.tiny_models import build_repository

ACCURACY = 1e-6
FAMILIES = {"siglip2", "dinov2-cls", "dinov3", "clip", "mobileclip2-fastvit", "rt-detr", "rt-detr-v2", "d-fine"}


@pytest.mark.parametrize("name", sorted(FAMILIES | set(SAMPLES)))
def test_an_adopted_export_answers_like_pytorch(tmp_path: Path, name: str) -> None:
    repository = build_repository(tmp_path / "repository")
    expected = adopt_sample(repository, SAMPLES[name])
    images = expected.pop("images")
    found = answers(repository, "embedder-mine" if "EMBEDDINGS" in expected else "detector", images)
    assert set(found) == set(expected)
    if "EMBEDDINGS" in found:
        np.testing.assert_allclose(found["EMBEDDINGS"], expected["EMBEDDINGS"], rtol=0, atol=ACCURACY)
        first, second = found["EMBEDDINGS"]
        assert np.abs(first - second).max() > 1e-3
        return
    # As sets: rounding decides the order of rows of nearly the same score.
    assert found["SCORES"].shape == expected["SCORES"].shape
    assert np.unique(found["SCORES"].round(5)).size > found["SCORES"].size / 2
    for image in range(len(images)):
        assert distances(found, expected, image).max() <= ACCURACY
        assert distances(expected, found, image).max() <= ACCURACY
