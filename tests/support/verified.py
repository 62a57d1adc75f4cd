"""`sightline privacy verify` against a served front over the fake engine, with all that it can search."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import start_http_server

from sightline_client.grants import GrantSigner
from sightline_client.options import ClientOptions
from sightline_privacy.promises import Promise
from sightline_privacy.report import Report
from sightline_privacy.sources import Sources
from sightline_privacy.verify import Plan, verify
from sightline_server.domain.models import EmbedderSpec
from sightline_server.telemetry.logging import PlainFormatter
from tests.support.grants import AUDIENCE, ISSUER, ConsentService
from tests.support.lens import Answer, FakeEngine, FakeSnapshot, Served, detections, serving, two_objects
from tests.support.spans import FileTracing
from tests.support.tokens import add_key

DIMENSION = 64
POLICY = """
[principals.app]
catalogs = ["default"]
methods = ["search", "embeddings"]
lanes = ["interactive"]

[principals.other]
catalogs = ["default"]
methods = ["search"]
lanes = ["interactive"]
"""
PERSON = (0.05, 0.0, 0.95, 1.0)


def unit_vectors(parts: Sequence[NDArray[np.uint8]]) -> Answer:
    """The embedder's answer: a vector of length one for each crop, which depends on its pixels."""
    made = [np.random.default_rng(int(part.astype(np.int64).sum())).normal(size=DIMENSION) for part in parts]
    raw = np.array(made, np.float32)
    return {"EMBEDDINGS": raw / np.linalg.norm(raw, axis=1, keepdims=True)}


def seen_in(parts: Sequence[NDArray[np.uint8]]) -> Answer:
    """The detector's answer: a person in a photo of one grey, else a chair and a vase."""
    if all(len(np.unique(part)) <= 4 for part in parts):
        return detections(len(parts), (PERSON, 0.9, 2))
    return two_objects(len(parts))


def engine() -> FakeEngine:
    """An engine with embeddings of a usual form."""
    made = FakeEngine()
    made.embedder = EmbedderSpec("tiny-embedder", "1", 16, 16, DIMENSION, sha256="e" * 64)
    made.models["embedder"].usual = unit_vectors
    made.models["detector"].usual = seen_in
    return made


@dataclass
class Subject:
    """A server under verification."""

    served: Served
    plan: Plan
    folder: Path
    """A folder that the verification searches."""
    principals: dict[str, str] = field(default_factory=dict)

    async def report(self, **changes: Any) -> Report:
        """The result of a verification."""
        return await verify(replace(self.plan, **changes))


@asynccontextmanager
async def under_verification(tmp_path: Path, mode: str = "required", **options: Any) -> AsyncIterator[Subject]:
    """A server with a policy, an audit log, consent of `mode`, a log, spans, metrics and a folder."""
    for name in ("audit", "searched"):
        (tmp_path / name).mkdir()
    service = ConsentService(tmp_path)
    (tmp_path / "policy.toml").write_text(POLICY)
    keys = {name: add_key(tmp_path / "keys.json", name) for name in ("app", "other")}
    log = tmp_path / "server.log"
    handler = logging.FileHandler(log)
    handler.setFormatter(PlainFormatter())
    logging.getLogger().addHandler(handler)
    tracing = FileTracing(tmp_path / "spans.json")
    settings: dict[str, Any] = {
        "engine": engine(),
        "index": FakeSnapshot(dimension=DIMENSION, embedder=engine().embedder.identity),
        "rights": {"policy_file": tmp_path / "policy.toml", "keys_file": tmp_path / "keys.json"},
        "audit": {"folder": tmp_path / "audit"},
        "consent": service.settings(mode),
        "tracing": tracing.tracing,
        **options,
    }
    try:
        async with serving(**settings) as served:
            web, thread = await asyncio.to_thread(
                partial(start_http_server, 0, "127.0.0.1", registry=served.metrics.registry)
            )
            try:
                reach = ClientOptions(served.address, token=keys["app"])
                yield Subject(
                    served,
                    Plan(
                        options=reach,
                        other=replace(reach, token=keys["other"]),
                        sources=Sources(
                            logs=[log],
                            spans=[tracing.path],
                            folders=[tmp_path / "searched"],
                            audit=tmp_path / "audit",
                            metrics_url=f"http://127.0.0.1:{web.server_port}/metrics",
                        ),
                        signer=GrantSigner(service.key, ISSUER, AUDIENCE),
                        settle_s=0.05,
                    ),
                    tmp_path / "searched",
                    keys,
                )
            finally:
                web.shutdown()
                web.server_close()
                thread.join()
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
        tracing.close()


def broken_in(report: Report) -> set[Promise]:
    """The promises that a report says are broken."""
    return {each.promise for each in report.results if each.verdict == "broken"}
