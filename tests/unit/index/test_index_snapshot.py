"""The served catalog: exact, product by product, on one thread, and never silently wrong."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.domain.catalogs import Capability
from sightline_server.domain.items import Neighbour
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index import nearest as nearest_module
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FaissIndex, library_facts
from sightline_server.index.opening import log_library, open_snapshot
from sightline_server.index.schema import CatalogRow
from sightline_server.index.selfcheck import recall
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.index.vectors import Search, VectorIndex
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import rank
from sightline_server.stages.search import VectorQuery, search
from sightline_server.stages.show import show
from tests.support.catalogs import BUILT, DIMENSION, SPEC, row, unit_vectors, write_catalog


def many_rows(products: int, seed: int = 1) -> list[CatalogRow]:
    """Products with one to five images, ids not in the order of rows."""
    counts = np.random.default_rng(seed).integers(1, 6, products)
    vectors = np.split(unit_vectors(int(counts.sum()), seed), np.cumsum(counts)[:-1])
    return [row(f"p{(number * 7919) % 100_000:05}", part) for number, part in enumerate(vectors)]


def brute_force(rows: list[CatalogRow], query: NDArray[np.float32], k: int) -> list[tuple[str, float, str]]:
    """Id, similarity and image of the `k` best products by a matrix product over what the catalog stores."""
    found = []
    for one in rows:
        stored = one.embeddings.astype(np.float16).astype(np.float32)
        similarities = (stored / np.linalg.norm(stored, axis=1, keepdims=True)) @ query
        best = int(np.argmax(similarities))
        found.append((one.product.id, float(similarities[best]), one.images[best]))
    return sorted(found, key=lambda item: -item[1])[:k]


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


async def opened(path: Path, rows: list[CatalogRow], device: DeviceThread) -> CatalogSnapshot:
    write_catalog(path, rows)
    return await open_snapshot(path, "shop", SPEC, device)


def ids(neighbours: list[Neighbour]) -> list[str]:
    return [one.product_id for one in neighbours]


@pytest.mark.parametrize(("batch", "k"), [(1, 1), (1, 10), (7, 10), (40, 3), (3, 100), (2, 400)])
async def test_it_finds_what_brute_force_finds(tmp_path: Path, device: DeviceThread, batch: int, k: int) -> None:
    rows = many_rows(300)
    index = await opened(tmp_path / "shop", rows, device)
    queries = unit_vectors(batch, seed=99)
    found = await index.nearest(queries, k)
    for query, neighbours in zip(queries, found, strict=True):
        expected = brute_force(rows, query, k)
        assert [one.product_id for one in neighbours] == [product_id for product_id, _, _ in expected]
        assert index.image_links([one.image for one in neighbours]) == [image for _, _, image in expected]
        assert [one.similarity for one in neighbours] == pytest.approx([s for _, s, _ in expected], abs=1e-5)
    await index.close()


async def test_a_small_catalog_gives_all_that_it_has(tmp_path: Path, device: DeviceThread) -> None:
    index = await opened(tmp_path / "shop", [row("b", unit_vectors(3)), row("a", unit_vectors(1, 5))], device)
    [found] = await index.nearest(unit_vectors(1, 8), 10)
    assert {one.product_id for one in found} == {"a", "b"}
    assert (index.name, index.product_count, index.dimension) == ("shop", 2, DIMENSION)
    await index.close()


async def test_a_product_with_many_near_pictures_does_not_crowd_out_others(
    tmp_path: Path, device: DeviceThread
) -> None:
    centre = unit_vectors(1, 3)
    rows = [row("crowd", np.repeat(centre, 20, axis=0)), *many_rows(30)]
    rows += [row(f"crowd{number}", np.repeat(centre, 20, axis=0)) for number in range(9)]
    index = await opened(tmp_path / "shop", rows, device)
    [found] = await index.nearest(centre, 12)
    ids = [one.product_id for one in found]
    assert len(set(ids)) == 12
    assert ids[:10] == ["crowd", *(f"crowd{number}" for number in range(9))]
    await index.close()


async def test_variants_do_not_fill_an_answer_by_group(tmp_path: Path, device: DeviceThread) -> None:
    centre = unit_vectors(1, 3)
    rows = [row(f"v{number:04}", centre, item_group_id="cup") for number in range(1500)]
    rows += many_rows(30)
    index = await opened(tmp_path / "shop", rows, device)
    queries = np.repeat(centre, 3, axis=0)
    plain, grouped, again = await index.nearest(queries, 12, [False, True, True])
    assert [one.product_id for one in plain] == [f"v{number:04}" for number in range(12)]
    assert [one.product_id for one in grouped][:100] == [f"v{number:04}" for number in range(100)]
    assert len({one.group for one in grouped}) == 12
    assert len(grouped) == 100 + 11
    assert [one.product_id for one in grouped[100:]] == [
        found for found, _, _ in brute_force(rows[1500:], centre[0], 11)
    ]
    assert [one.product_id for one in again] == [one.product_id for one in grouped]
    await index.close()


async def test_a_query_by_group_gets_in_any_batch_what_it_gets_alone(tmp_path: Path, device: DeviceThread) -> None:
    rows = [
        row(one.product.id, one.embeddings, item_group_id="" if number % 4 == 0 else f"g{number % 17}")
        for number, one in enumerate(many_rows(300))
    ]
    index = await opened(tmp_path / "shop", rows, device)
    asked = [
        VectorQuery(index, query, k=1 + number * 3, by_group=number % 2 == 0)
        for number, query in enumerate(unit_vectors(12, seed=5))
    ]
    together = await search(asked)
    for query, found in zip(asked, together, strict=True):
        [alone] = await search([query])
        assert isinstance(found, list) and isinstance(alone, list)
        assert [one.product_id for one in found] == [one.product_id for one in alone]
        counted = {one.group if query.by_group else one.product_id for one in found}
        assert len(counted) == query.k
    await index.close()


async def test_fewer_groups_than_asked_for_give_every_group(
    tmp_path: Path, device: DeviceThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest_module, "CALL_HITS", 50)
    rows = [row(one.product.id, one.embeddings, item_group_id=f"g{n % 3}") for n, one in enumerate(many_rows(60))]
    index = await opened(tmp_path / "shop", rows, device)
    for found in await index.nearest(unit_vectors(5, seed=5), 10, [True] * 5):
        assert len(found) == 60
    await index.close()


async def test_one_picture_for_many_products_is_cut_by_id(tmp_path: Path, device: DeviceThread) -> None:
    shared = unit_vectors(1, 3)
    rows = [row(f"p{number:03}", shared) for number in reversed(range(200))]
    index = await opened(tmp_path / "shop", rows, device)
    [found] = await index.nearest(shared, 5)
    assert [one.product_id for one in found] == [f"p{number:03}" for number in range(5)]
    assert len({one.similarity for one in found}) == 1
    await index.close()


async def test_a_picture_of_the_catalog_is_a_full_match_and_never_more(tmp_path: Path, device: DeviceThread) -> None:
    rows = many_rows(50)
    index = await opened(tmp_path / "shop", rows, device)
    queries = np.concatenate([one.embeddings[:1] for one in rows])
    found = await index.nearest(queries, 1)
    assert [neighbours[0].product_id for neighbours in found] == [one.product.id for one in rows]
    assert all(0.999 < neighbours[0].similarity <= 1.0 for neighbours in found)
    await index.close()


async def test_a_query_that_does_not_fit_is_refused(tmp_path: Path, device: DeviceThread) -> None:
    index = await opened(tmp_path / "shop", many_rows(3), device)
    for queries, k in ((unit_vectors(1, dimension=5), 1), (unit_vectors(1)[0], 1), (unit_vectors(1), 0)):
        with pytest.raises(SightlineError, match="does not fit"):
            await index.nearest(queries, k)
    with pytest.raises(SightlineError, match="does not fit"):
        await index.nearest(unit_vectors(2), 1, [True])
    await index.close()


async def test_after_close_it_is_unavailable_and_closing_again_is_nothing(tmp_path: Path, device: DeviceThread) -> None:
    index = await opened(tmp_path / "shop", many_rows(3), device)
    await index.close()
    await index.close()
    with pytest.raises(SightlineError) as caught:
        await index.nearest(unit_vectors(1), 1)
    assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE


async def test_another_embedder_does_not_get_an_index(tmp_path: Path, device: DeviceThread) -> None:
    write_catalog(tmp_path / "shop", many_rows(3))
    with pytest.raises(SightlineError, match="another embedder"):
        await open_snapshot(tmp_path / "shop", "shop", replace(SPEC, sha256="00" * 32), device)


async def test_the_start_says_which_faiss_and_how_well_it_finds(
    tmp_path: Path, device: DeviceThread, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "sightline_server.index"):
        log_library()
        index = await opened(tmp_path / "shop", many_rows(20), device)
    assert index.self_check_recall == 1.0
    assert str(library_facts()) in caplog.text
    assert "recall@10 1.000" in caplog.text
    assert index.revision in caplog.text
    await index.close()


class LyingIndex:
    """An index whose answers are those of its neighbour row, with plausible similarities."""

    description, exact = "a liar", False

    def __init__(self, vectors: NDArray[np.float16]) -> None:
        self._true = FaissIndex(vectors, use_gpu=False)
        self.max_k = self._rows = len(vectors)
        self.memory_bytes = self._true.memory_bytes

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        similarities, rows = self._true.search(queries, k)
        return similarities, (rows + 1) % self._rows

    def search_allowed(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.search(queries, k)

    def subset(self, rows: NDArray[np.integer[Any]]) -> Search:
        return self._true.subset(rows)

    def adopt(self) -> None:
        self._true.adopt()

    def close(self) -> None:
        self._true.close()


if TYPE_CHECKING:
    _index: VectorIndex = LyingIndex(np.zeros((1, 1), np.float16))


class BrokenIndex(LyingIndex):
    """An index whose device is gone."""

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        raise RuntimeError("Faiss assertion 'err == cudaSuccess' failed: secret")


def test_the_self_check_believes_answers_only() -> None:
    vectors = unit_vectors(500).astype(np.float16)
    assert recall(FaissIndex(vectors, use_gpu=False), vectors) == 1.0
    assert recall(LyingIndex(vectors), vectors) < 0.5


async def test_a_fault_of_the_library_is_unavailable_without_its_words(tmp_path: Path, device: DeviceThread) -> None:
    write_catalog(tmp_path / "shop", many_rows(3))
    catalog = open_catalog(tmp_path / "shop")
    broken = device.call(lambda: BrokenIndex(catalog.vectors))
    index = CatalogSnapshot("shop", catalog, broken, device)
    with pytest.raises(SightlineError) as caught:
        await index.nearest(unit_vectors(1), 1)
    assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE
    assert caught.value.retry_after_s is not None
    assert "secret" not in caught.value.message
    await index.close()


def refused_here(index: FaissIndex) -> bool:
    """Returns whether the calling thread may not search `index`."""
    try:
        index.search(unit_vectors(1), 1)
    except RuntimeError:
        return True
    return False


def test_the_index_belongs_to_the_thread_that_adopted_it(device: DeviceThread) -> None:
    index = FaissIndex(unit_vectors(5).astype(np.float16), use_gpu=False)
    assert not refused_here(index), "who built it may check it"
    assert device.call(lambda: refused_here(index))
    device.call(index.adopt)
    assert not device.call(lambda: refused_here(index))
    assert refused_here(index)


async def test_snapshots_of_different_dimensions_share_a_device_and_a_batch(
    tmp_path: Path, device: DeviceThread
) -> None:
    narrow = await opened(tmp_path / "narrow", many_rows(30), device)
    spec = replace(SPEC, dimension=12)
    write_catalog(tmp_path / "wide", [row(f"w{n}", unit_vectors(1, n, 12)) for n in range(5)], spec)
    wide = await open_snapshot(tmp_path / "wide", "wide", spec, device)
    asked = [
        VectorQuery(wide, unit_vectors(1, 2, 12)[0], 2) if n % 2 else VectorQuery(narrow, unit_vectors(1, n)[0], 3)
        for n in range(7)
    ]
    for query, found in zip(asked, await search(asked), strict=True):
        assert not isinstance(found, SightlineError)
        assert [each.product_id[0] for each in found] == ["w" if query.snapshot is wide else "p"] * query.k
        [alone] = await search([query])
        assert isinstance(found, list) and isinstance(alone, list)
        assert not isinstance(alone, SightlineError)
        assert ids(found) == ids(alone)
    for snapshot in (narrow, wide):
        await snapshot.close()


async def test_a_snapshot_that_is_closed_fails_only_its_own_queries(tmp_path: Path, device: DeviceThread) -> None:
    closed = await opened(tmp_path / "a", many_rows(5), device)
    served = await opened(tmp_path / "b", many_rows(5), device)
    await closed.close()
    query = unit_vectors(1)[0]
    broken, sound = await search([VectorQuery(closed, query, 1), VectorQuery(served, query, 1)])
    assert isinstance(broken, SightlineError)
    assert broken.kind is ErrorKind.INDEX_UNAVAILABLE
    assert not isinstance(sound, SightlineError)
    assert len(sound) == 1
    await served.close()


async def test_what_is_shown_is_read_from_the_snapshot_in_order(tmp_path: Path, device: DeviceThread) -> None:
    snapshot = await opened(
        tmp_path / "shop", [row(f"p{n}", unit_vectors(2, n), title=f"T{n}") for n in range(9)], device
    )
    [neighbours] = await snapshot.nearest(unit_vectors(1, 4)[:1], 9)
    ranked = rank(neighbours, "", limit=4, min_similarity=0.0, settings=RankingSettings())
    other = rank(neighbours[2:], "", limit=3, min_similarity=0.0, settings=RankingSettings())
    shown, nothing, again = show(snapshot, [ranked, (), other])
    for answer, expected in ((shown, ranked), (again, other)):
        assert [each.product.id for each in answer] == [each.neighbour.product_id for each in expected]
        assert [each.product.title for each in answer] == [f"T{each.product.id[1:]}" for each in answer]
        assert all(each.matched_image.startswith(f"{each.product.id}-") for each in answer)
        assert [(each.rank, each.score) for each in answer] == [(each.rank, each.score) for each in expected]
    assert shown[0].matched_image == "p4-0.jpg"
    assert nothing == ()
    assert show(snapshot, [(), ()]) == [(), ()]
    await snapshot.close()


async def test_a_snapshot_says_what_it_is(tmp_path: Path, device: DeviceThread) -> None:
    snapshot = await opened(tmp_path / "shop", many_rows(3), device)
    assert snapshot.embedder == SPEC.identity
    assert snapshot.built_at == BUILT.isoformat(timespec="seconds")
    assert snapshot.capabilities == set(Capability)
    await snapshot.close()
