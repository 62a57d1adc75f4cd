"""An adapter as a value: the similarity that it gives, the images that it does not know, its bytes."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adapter import AdaptedRows, Adapter, image_keys, unit
from sightline_server.index.adapter_bytes import decode, encode
from sightline_server.index.half_floats import float32
from sightline_server.ingest.adapting.fitting import Method, fit
from tests.support.catalogs import unit_vectors
from tests.support.shop_photos import DIMENSION, photographed_shop

SHOP = photographed_shop()
IMAGES = SHOP.shop_images()


@pytest.fixture(scope="module", params=list(Method))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    found = fit(SHOP.shop_photos(labelled=True, products=range(40)), IMAGES, request.param)
    return replace(found, scale=0.7)


def test_the_inner_product_is_the_similarity(adapter: Adapter) -> None:
    queries, rows = adapter.of_queries(SHOP.photos), adapter.of_images(IMAGES.stored)
    assert queries.shape[1] == rows.shape[1] == adapter.dimension
    photos = adapter.photos.of(SHOP.photos)
    images = adapter.images.of(unit(float32(IMAGES.stored)))
    hubness = adapter.hubness.of(images, image_keys(IMAGES.stored))
    expected = 0.7 * (photos @ images.T - adapter.beta * (hubness - adapter.hubness.least)) + 0.3
    assert np.allclose(queries @ rows.T, expected, atol=1e-5)
    assert expected.max() <= 1.0 + 1e-6


def test_a_photo_in_the_direction_of_an_image_that_is_near_to_few_has_similarity_one(adapter: Adapter) -> None:
    rows = adapter.of_images(IMAGES.stored)
    similarities = np.einsum("nd,nd->n", adapter.probes(rows), rows)
    assert 0.9 < similarities.max() <= 1.0 + 1e-5
    assert similarities.argmax() == rows[:, -2].argmax()


def test_without_labels_the_least_hubness_is_that_of_an_image() -> None:
    found = fit(SHOP.shop_photos(labelled=False), IMAGES, Method.CENTRED)
    rows = found.of_images(IMAGES.stored)
    assert np.einsum("nd,nd->n", found.probes(rows), rows).max() == pytest.approx(1.0, abs=1e-5)


def test_images_that_were_not_there_have_an_estimated_hubness(adapter: Adapter) -> None:
    stored = IMAGES.stored[40:]
    images = adapter.images.of(unit(float32(stored)))
    known = adapter.hubness.of(images, image_keys(stored))
    estimated = adapter.hubness.of(images, np.zeros(len(stored), np.uint64))
    assert not np.array_equal(known, estimated)
    assert np.corrcoef(known, estimated)[0, 1] > 0.5
    assert abs(known.mean() - estimated.mean()) < 0.05
    assert estimated.min() >= adapter.hubness.least


def test_rows_are_adapted_as_they_are_read(adapter: Adapter) -> None:
    rows, whole = AdaptedRows(adapter, IMAGES.stored), adapter.of_images(IMAGES.stored)
    assert (len(rows), rows.shape, rows.size) == (60, (60, adapter.dimension), 60 * adapter.dimension)
    assert np.allclose(rows[10:20], whole[10:20], atol=1e-6)
    assert np.allclose(rows[np.array([[3, 1], [2, 0]])], whole[np.array([[3, 1], [2, 0]])], atol=1e-6)


def test_the_bytes_give_the_same_adapter(adapter: Adapter) -> None:
    again = decode(encode(adapter), DIMENSION)
    assert np.array_equal(again.of_queries(SHOP.photos), adapter.of_queries(SHOP.photos))
    assert np.array_equal(again.of_images(IMAGES.stored), adapter.of_images(IMAGES.stored))
    assert again.facts == adapter.facts
    assert encode(again) == encode(adapter)


def broken(adapter: Adapter, **arrays: Any) -> bytes:
    with np.load(io.BytesIO(encode(adapter))) as file:
        parts = {name: file[name] for name in file.files} | arrays
    target = io.BytesIO()
    np.savez(target, **parts)
    return target.getvalue()


@pytest.mark.parametrize(
    "arrays",
    [
        {"photo_mean": np.zeros(3, np.float32)},
        {"image_mean": np.full(DIMENSION, np.nan, np.float32)},
        {"values": np.zeros(3, np.float32)},
        {"keys": np.zeros(60, np.int64)},
        {"hub_factors": np.zeros((2, 2), np.float32)},
        {"hub_weights": np.zeros(2, np.float32)},
        {"about": np.frombuffer(b'{"format": 9}', np.uint8)},
        {"about": np.frombuffer(b"no JSON", np.uint8)},
        {"about": np.array([{}], object)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(adapter: Adapter, arrays: dict[str, Any]) -> None:
    with pytest.raises(SightlineError, match="sightline adapt CATALOG --remove") as refused:
        decode(broken(adapter, **arrays), DIMENSION)
    assert refused.value.kind is ErrorKind.CONFIGURATION


def test_other_bytes_are_refused() -> None:
    for content in (b"", b"no adapter", encode(fit(SHOP.shop_photos(labelled=False), IMAGES, Method.CENTRED))[:-40]):
        with pytest.raises(SightlineError, match="it cannot be read"):
            decode(content, DIMENSION)


def test_an_adapter_of_other_vectors_is_refused(adapter: Adapter) -> None:
    with pytest.raises(SightlineError, match="do not fit the catalog"):
        decode(encode(adapter), DIMENSION + 1)


def test_keys_tell_embeddings_apart() -> None:
    stored = unit_vectors(500, dimension=12).astype(np.float16)
    keys = image_keys(stored)
    assert len(np.unique(keys)) == 500
    assert np.array_equal(image_keys(stored[7:9]), keys[7:9])
