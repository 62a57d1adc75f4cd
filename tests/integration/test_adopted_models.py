"""Adopted models on the real Triton: they answer as the networks that were exported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.domain.embedders import embedder_role
from sightline_server.domain.models import DETECTOR
from sightline_server.triton.specs import search_models
from tests.support.adopted import SAMPLES, add_exported, adopt, adopt_sample, distances
from tests.support.embedded import running_engine
from tests.support.exported_models import detections, detr, images, raw_detections, sigmoid, tokens_of, tower, unit
from tests.support.tiny_models import build_repository

pytestmark = pytest.mark.engine
Answers = Mapping[str, NDArray[Any]]


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


async def test_an_adopted_detector_is_served(tmp_path: Path) -> None:
    repository = build_repository(tmp_path / "repository")
    (tmp_path / "labels.txt").write_text("person\nchair\nsofa\nlamp\nvase\n")
    options = ("--logits", "logits", "--boxes", "pred_boxes", "--labels", str(tmp_path / "labels.txt"), "--force")
    assert adopt(repository, detr(), *options, role="detector").exit_code == 0
    async with running_engine(repository) as embedded:
        spec = embedded.engine.spec(DETECTOR)
        assert (spec.name, spec.labels[0], spec.max_detections) == ("mine", "person", 16)
        for count in (1, 3):
            photos = images(count, seed=count)
            logits, boxes, _ = raw_detections(photos)
            expected: tuple[NDArray[Any], ...] = detections(boxes, sigmoid(logits))
            answer = await embedded.engine.runner(DETECTOR).infer({"IMAGES": list(photos)}, deadline=None)
            for name, values in zip(("BOXES", "SCORES", "LABELS"), expected, strict=True):
                np.testing.assert_allclose(answer[name], values, atol=1e-6)


TOWERS = ("siglip2", "dinov2-cls", "dinov3", "clip", "mobileclip2-fastvit")


async def served_answers(repository: Path, images: Mapping[str, Answers]) -> dict[str, Answers]:
    """The answers of the towers and of RT-DETR through the real Triton."""
    roles = {name: embedder_role(f"embedder-{name}") for name in TOWERS}
    models = search_models(roles.values())
    async with running_engine(repository, models=models, roles=tuple(model.role for model in models)) as embedded:
        found: dict[str, Answers] = {}
        for name, role in roles.items():
            runner, crops = embedded.engine.runner(role), list(images[name]["images"])
            found[name] = await runner.infer({"CROPS": crops}, deadline=None)
        photos = list(images["rt-detr"]["images"])
        found["rt-detr"] = await embedded.engine.runner(DETECTOR).infer({"IMAGES": photos}, deadline=None)
        return found


async def test_both_routes_of_pytorch_are_served_alike(tmp_path: Path) -> None:
    names = (*TOWERS, "rt-detr")
    adopted = build_repository(tmp_path / "adopted" / "repository")
    expected: dict[str, Answers] = {n: adopt_sample(adopted, SAMPLES[n], "--name", n) for n in names}
    exported = build_repository(tmp_path / "exported" / "repository")
    for name in names:
        add_exported(exported, name)
    first, second = await served_answers(adopted, expected), await served_answers(exported, expected)
    pairs = ((first, expected), (second, expected), (first, second))
    for name in TOWERS:
        for some, others in pairs:
            np.testing.assert_allclose(some[name]["EMBEDDINGS"], others[name]["EMBEDDINGS"], rtol=0, atol=1e-6)
    for image in range(len(expected["rt-detr"]["images"])):
        for some, others in (*pairs, *((b, a) for a, b in pairs)):
            assert distances(some["rt-detr"], others["rt-detr"], image).max() <= 1e-6
