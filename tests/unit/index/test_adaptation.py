"""Bytes that `sightline adapt` stores: an adapter alone as before, weights in a format that earlier versions refuse."""

import io
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.verdict import FittedVerdict, Verdict
from sightline_server.domain.weights import FittedWeights, Weights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index import adapter_bytes
from sightline_server.index.adaptation import NO_ADAPTATION, Adaptation, decode, encode
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import open_snapshot
from sightline_server.index.replication.source import read_source
from sightline_server.index.shared import open_shared, share_catalog
from sightline_server.ingest.adapting.fitting import Method, fit
from tests.support.catalogs import row, write_catalog
from tests.support.shop_photos import DIMENSION, PHOTO_SPEC, photographed_shop

SHOP = photographed_shop()
ADAPTER = replace(fit(SHOP.shop_photos(labelled=False), SHOP.shop_images(), Method.CENTRED), scale=0.6)
WEIGHTS = FittedWeights(Weights(0.3, 0.1), {"photos": 40})
VERDICT = FittedVerdict(Verdict(-3.0, 1.0, 20.0, 5.0, 2.0, neighbours=20, with_points=True), {"right": 0.9})

NONE = np.zeros(0, np.uint8)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    rows = [row(f"p{number:02}", vector[np.newaxis]) for number, vector in enumerate(SHOP.images)]
    write_catalog(tmp_path / "shop", rows, PHOTO_SPEC)
    return tmp_path / "shop"


def stored(**arrays: Any) -> bytes:
    target = io.BytesIO()
    about = arrays.pop("about")
    np.savez(target, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    return target.getvalue()


@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["no adapter", "an adapter"])
@pytest.mark.parametrize(("weights", "verdict"), [(WEIGHTS, None), (None, VERDICT), (WEIGHTS, VERDICT)])
def test_the_bytes_give_the_same_again(adapter: Any, weights: Any, verdict: Any) -> None:
    given = Adaptation(adapter, weights, verdict)
    again = decode(encode(given), DIMENSION)
    assert (again.adapter is None, again.weights is None, again.verdict is None) == (
        adapter is None,
        weights is None,
        verdict is None,
    )
    if again.weights is not None:
        assert (again.weights.weights, again.weights.facts) == (WEIGHTS.weights, {"photos": 40})
    if again.verdict is not None:
        assert (again.verdict.verdict, again.verdict.facts) == (VERDICT.verdict, {"right": 0.9})
    assert not again.is_empty
    assert encode(again) == encode(given)


def test_an_adapter_alone_is_stored_as_before() -> None:
    content = encode(Adaptation(ADAPTER))
    assert content == adapter_bytes.encode(ADAPTER)
    found = decode(content, DIMENSION)
    assert found.weights is None
    assert found.adapter is not None


def test_nothing_has_no_bytes() -> None:
    assert encode(NO_ADAPTATION) == b""
    assert decode(b"", DIMENSION).is_empty


def test_an_earlier_version_refuses_weights() -> None:
    with pytest.raises(SightlineError, match="it has format 2, this version of Sightline reads 1"):
        adapter_bytes.decode(encode(Adaptation(ADAPTER, WEIGHTS)), DIMENSION)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no archive", "it cannot be read"),
        (encode(Adaptation(None, WEIGHTS))[:-30], "it cannot be read"),
        (stored(about={"format": 2}), "it cannot be read"),
        (stored(about={"format": 2, "weights": []}, adapter=NONE), "it cannot be read"),
        (stored(about={"format": 2, "verdict": {"values": {}}}, adapter=NONE), "it has not the values of a verdict"),
        (
            stored(about={"format": 2, "weights": {"values": {"version": 9}, "facts": {}}}, adapter=NONE),
            "its weights or its verdict are invalid: it has version 9",
        ),
        (stored(about={"format": 9}), "it has format 9"),
    ],
)
def test_other_bytes_are_refused_with_the_remedy(content: bytes, reason: str) -> None:
    with pytest.raises(SightlineError, match=reason) as refused:
        decode(content, DIMENSION)
    assert refused.value.kind is ErrorKind.CONFIGURATION
    assert "sightline adapt CATALOG --remove" in refused.value.message


def test_a_rollback_restores_the_weights_of_its_revision(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        first = living.store.adapt(encode(Adaptation(None, WEIGHTS)), "first")
        living.store.adapt(encode(Adaptation(ADAPTER, FittedWeights(Weights(0.1)))), "second")
        opened = open_catalog(shop)
        assert opened.adapter is not None
        assert opened.weights is not None
        assert opened.weights.weights == Weights(0.1)
        living.store.rollback(first.number)
        restored = open_catalog(shop)
        assert restored.adapter is None
        assert restored.weights is not None
        assert restored.weights.weights == WEIGHTS.weights
        living.store.rollback(1)
    assert open_catalog(shop).weights is None


async def test_every_snapshot_has_the_weights_of_its_catalog(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.store.adapt(encode(Adaptation(ADAPTER, WEIGHTS, VERDICT)))
    device = DeviceThread()
    shared = await share_catalog(shop, "shop", PHOTO_SPEC)
    snapshots = [await open_snapshot(shop, "shop", PHOTO_SPEC, device), await open_shared(shared, device, sharers=1)]
    assert [(each.weights, each.verdict) for each in snapshots] == [(WEIGHTS.weights, VERDICT.verdict)] * 2
    for each in snapshots:
        await each.close()
    shared.close()
    device.close()


def test_a_catalog_with_weights_is_not_replicated(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.store.adapt(encode(Adaptation(None, WEIGHTS)))
    with pytest.raises(SightlineError, match="has an adapter, weights or a verdict"):
        read_source(shop)


async def test_a_served_catalog_that_is_written_goes_back_with_its_weights(shop: Path) -> None:
    device = DeviceThread()
    live = LiveIndex(shop, "shop", PHOTO_SPEC, device, policy=MergePolicy())
    with LivingCatalog(shop, store=CatalogStore(shop, published=live)) as living:
        live.open()
        assert live.view().weights is None
        made = living.store.adapt(encode(Adaptation(None, WEIGHTS)))
        assert live.view().weights == WEIGHTS.weights
        living.upsert([row("new", SHOP.images[:1])])
        assert live.view().weights == WEIGHTS.weights
        living.store.rollback(1)
        assert live.view().weights is None
        living.store.rollback(made.number)
        assert live.view().weights == WEIGHTS.weights
        live.close()
    await live.view().close()
    device.close()


def test_changed_bytes_are_refused_by_one_error_or_read() -> None:
    """Whatever NumPy, zipfile and JSON raise for them: methods that are unknown, sizes that no memory has, depth."""
    chance = np.random.default_rng(7)
    nested = b"[" * 100_000
    bad = [
        b"x",
        stored(about=[]),
        stored(about={"format": 2, "weights": 5}),
        stored(about={"format": 2, "verdict": {"values": VERDICT.verdict.facts() | {"neighbours": True}, "facts": {}}}),
        raw(about=np.frombuffer(nested, np.uint8)),
    ]
    for content in bad:
        with pytest.raises(SightlineError) as refused:
            decode(content, DIMENSION)
        assert refused.value.kind is ErrorKind.CONFIGURATION
    for whole in (encode(Adaptation(None, WEIGHTS, VERDICT)), encode(Adaptation(ADAPTER))):
        for _ in range(300):
            changed = bytearray(whole)
            # The ends have the descriptions of what lies between.
            for place in chance.integers(0, 400, 3) * chance.choice([-1, 1], 3):
                changed[int(place)] = int(chance.integers(0, 256))
            with suppress(SightlineError):
                decode(bytes(changed), DIMENSION)


def raw(**arrays: Any) -> bytes:
    """Arrays in NumPy's format."""
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()
