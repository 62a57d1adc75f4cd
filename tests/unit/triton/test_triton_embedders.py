"""Several embedders of one engine: their identities at the start, and those named when it comes back changed."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sightline_server.domain.address import TcpAddress
from sightline_server.domain.embedders import embedder_role
from sightline_server.domain.models import DETECTOR, EMBEDDER, EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.triton.config import EngineConfig, NoEvents
from sightline_server.triton.engine import TritonEngine
from sightline_server.triton.lifecycle import Lifecycle
from sightline_server.triton.link import Link
from sightline_server.triton.remote import RemoteHost
from sightline_server.triton.specs import search_models

FURTHER = embedder_role("embedder-b")
FIRST = EmbedderSpec("a", "1", 4, 4, 2, sha256="a" * 64)
SECOND = EmbedderSpec("b", "1", 4, 4, 3, sha256="b" * 64)
CONFIG = EngineConfig(models=search_models([FURTHER]))


def host() -> RemoteHost:
    return RemoteHost(Link(TcpAddress("triton", 8001), None), NoEvents().provider, roles=CONFIG.roles)


def connected(samples: dict[str, Any], **specs: EmbedderSpec) -> Any:
    """A connection to these embedders, whose answers to the first image are `samples`."""
    models = {
        DETECTOR: SimpleNamespace(spec="detector"),
        EMBEDDER: SimpleNamespace(spec=specs.get("first", FIRST)),
        FURTHER: SimpleNamespace(spec=specs.get("second", SECOND)),
    }
    vectors = {role: np.array(sample, np.float32) for role, sample in samples.items()}
    return SimpleNamespace(models=models, sample_embeddings=vectors)


async def test_two_embedders_of_one_identity_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TritonEngine(host(), CONFIG)

    async def raise_up(lifecycle: Lifecycle) -> None:
        lifecycle._specs = {DETECTOR: FIRST, EMBEDDER: FIRST, FURTHER: replace(FIRST, dimension=3)}

    monkeypatch.setattr(Lifecycle, "raise_up", raise_up)
    with pytest.raises(SightlineError, match="the models embedder and embedder-b are both a@aaaaaaaaaaaa"):
        await engine.start()
    assert not engine.ready


SAMPLES: dict[str, Any] = {EMBEDDER: [1, 0], FURTHER: [0, 1, 0]}


@pytest.mark.parametrize(
    ("later", "named"),
    [
        (connected({**SAMPLES, FURTHER: [1, 0, 0]}), "embedder-b"),
        (connected(SAMPLES, second=replace(SECOND, sha256="c" * 64)), "embedder-b"),
        (connected({**SAMPLES, EMBEDDER: [0, 1]}), "embedder"),
        (connected({**SAMPLES, EMBEDDER: [0, 1], FURTHER: [1, 0, 0]}), "embedder and another embedder-b"),
    ],
)
def test_an_engine_that_comes_back_with_another_embedder_is_refused(later: Any, named: str) -> None:
    lifecycle = Lifecycle(host(), CONFIG, NoEvents())
    lifecycle._check_same_models(connected(SAMPLES))
    lifecycle._check_same_models(connected({**SAMPLES, EMBEDDER: [0.999, 0.01], FURTHER: [0, 1, 0.01]}))
    with pytest.raises(SightlineError, match=f"the engine now has another {named}; restart the server"):
        lifecycle._check_same_models(later)
