"""The facts of a catalog, and the embedders that it is compatible with."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from sightline_models.defaults import EMBEDDER
from sightline_server.domain.models import embedder_mismatch
from sightline_server.domain.preprocess import Fit, Preprocess, Resampler
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.digest import ContentDigest
from sightline_server.index.schema import FACTS_KEY, CatalogFacts
from tests.support.catalogs import SPEC

CENTER_CROP = Preprocess(Fit.CENTER_CROP, Resampler.LANCZOS)
FACTS = CatalogFacts(SPEC, 3, 5, 2, "cd" * 32, "2026-01-02T03:04:05+00:00")


def test_facts_survive_the_metadata() -> None:
    assert CatalogFacts.parse(FACTS.metadata()) == FACTS
    cropped = replace(FACTS, embedder=replace(SPEC, preprocess=CENTER_CROP))
    assert CatalogFacts.parse(cropped.metadata()) == cropped


@pytest.mark.parametrize(
    "stated",
    [
        {"color": "RGB", "resize": "squash", "resample": "bicubic antialiased"},
        {"resize": "letterbox", "fill": [114, 114, 114]},
        {"anything": "else"},
    ],
)
def test_a_catalog_from_before_the_preprocess_was_executed_has_squashed_images(stated: dict[str, object]) -> None:
    facts = json.loads(FACTS.metadata()[FACTS_KEY])
    facts["embedder"]["preprocess"] = stated
    assert CatalogFacts.parse({FACTS_KEY: json.dumps(facts).encode()}) == FACTS


def test_the_default_embedders_facts_are_those_of_earlier_catalogs() -> None:
    facts = json.loads(FACTS.metadata()[FACTS_KEY])
    assert facts["embedder"]["preprocess"] == EMBEDDER.preprocess


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "not a Sightline catalog"),
        ({b"other": b"{}"}, "not a Sightline catalog"),
        ({FACTS_KEY: b"{"}, "damaged"),
        ({FACTS_KEY: b"[]"}, "damaged"),
        ({FACTS_KEY: b'{"format": 1}'}, "damaged"),
        ({FACTS_KEY: json.dumps({"format": 99}).encode()}, "format 99"),
    ],
)
def test_metadata_that_is_not_ours(metadata: dict[bytes, bytes] | None, words: str) -> None:
    with pytest.raises(SightlineError, match=words) as caught:
        CatalogFacts.parse(metadata)
    assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dimension": 9}, "dimension 8 in the catalog, 9 in the engine"),
        ({"sha256": "ef" * 32}, "tiny@abababababab in the catalog, tiny@efefefefefef"),
        ({"sha256": "", "name": "other"}, "tiny in the catalog, other in the engine"),
        ({"width": 5}, "input size 4x4 in the catalog, 5x4"),
        ({"preprocess": CENTER_CROP}, "preprocess"),
    ],
)
def test_embedders_that_do_not_fit(changes: dict[str, Any], words: str) -> None:
    assert words in str(embedder_mismatch(SPEC, replace(SPEC, **changes)))


@pytest.mark.parametrize("changes", [{}, {"name": "renamed"}, {"sha256": ""}, {"version": "7"}, {"max_batch_size": 3}])
def test_embedders_that_fit(changes: dict[str, Any]) -> None:
    assert embedder_mismatch(SPEC, replace(SPEC, **changes)) is None


def digest_of(*parts: pa.Table) -> str:
    digest = ContentDigest(("text", "links"))
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def test_the_digest_depends_on_content_not_on_batches() -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None, "", "bc"]),
            "links": pa.array([["x"], ["y", "z"], ["u"], ["v"]], pa.list_(pa.string())),
        }
    )
    whole = digest_of(table)
    assert whole == digest_of(table.slice(0, 1), table.slice(1, 2), table.slice(3))
    assert whole != digest_of(table.slice(0, 3))
    moved = table.set_column(0, "text", pa.array(["ab", None, "", "c"]))
    emptied = table.set_column(0, "text", pa.array(["a", "", "", "bc"]))
    regrouped = table.set_column(1, "links", pa.array([["x", "y"], ["z"], ["u"], ["v"]], pa.list_(pa.string())))
    assert len({whole, digest_of(moved), digest_of(emptied), digest_of(regrouped)}) == 4
