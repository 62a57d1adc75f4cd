"""Adopted models on the real Triton: they answer as the networks that were exported."""

from pathlib import Path

import numpy as np
import pytest

from sightline_server.domain.embedders import embedder_role
from sightline_server.triton.specs import search_models
from tests.support.adopted import adopt
from tests.support.embedded import running_engine
from tests.support.exported_models import images, tokens_of, tower, unit
from tests.support.tiny_models import build_repository

pytestmark = pytest.mark.engine


async def test_an_adopted_embedder_is_served(tmp_path: Path) -> None:
    repository = build_repository(tmp_path / "repository")
    assert adopt(repository, tower(), "--output", "tokens", "--pool", "mean").exit_code == 0
    role = embedder_role("embedder-mine")
    models = search_models([role])
    async with running_engine(repository, models=models, roles=tuple(model.role for model in models)) as embedded:
        assert embedded.engine.spec(role).name == "mine"
        for count in (1, 5):
            crops = images(count, seed=count)
            answer = await embedded.engine.runner(role).infer({"CROPS": list(crops)}, deadline=None)
            np.testing.assert_allclose(answer["EMBEDDINGS"], unit(tokens_of(crops).mean(axis=1)), atol=1e-6)
