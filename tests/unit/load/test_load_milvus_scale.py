"""The parts of `load_tests.milvus_scale`: what counts as a violation, as found, as back, and the bounds."""

import asyncio
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from load_tests.catalog_scale.shop import Size, name_of, number_of, write_shop
from load_tests.milvus_scale import deleting
from load_tests.milvus_scale.deleting import Deletions
from load_tests.milvus_scale.judging import bounds, of_kill, outcomes, table
from load_tests.milvus_scale.killing import Call, Struck
from load_tests.milvus_scale.searching import ALL, WAYS, Measured, compare, drawn, filter_of, note
from load_tests.milvus_scale.shops import FOLDER, REMOTE, WRITTEN, settings, vectors_of
from sightline_client import (
    Answer,
    AnsweredObject,
    AsyncCatalogClient,
    AsyncClient,
    Box,
    DetectedObject,
    MatchLevel,
    Product,
    ProductStatus,
    RankedProduct,
    SightlineError,
)
from sightline_server.settings.catalogs import ServedCatalogSettings

AWAY = SightlineError("away", code="UNAVAILABLE", retry_after_s=2.0)


def answer_of(*products: tuple[int, float]) -> Answer:
    ranked = tuple(
        RankedProduct(Product(name_of(number)), similarity, similarity, place, "", MatchLevel.SIMILAR)
        for place, (number, similarity) in enumerate(products, 1)
    )
    return Answer("", (AnsweredObject(DetectedObject("o1", Box.whole()), ranked),), None)


def test_a_product_that_the_filter_excludes_is_a_violation() -> None:
    half, every = Measured("embedding", REMOTE, "50%"), Measured("embedding", REMOTE, ALL)
    matching = [number for number in range(40) if ((number * 2_654_435_761 >> 7) & 0xFFFF_FFFF) % 2 == 0]
    others = sorted({*range(40)} - {*matching})
    for measured in (half, every):
        note(measured, 0.5, answer_of((matching[0], 0.9)), 40)
        note(measured, 0.1, answer_of((matching[1], 0.9), (others[0], 0.8), (others[1], 0.7)), 40)
    assert (half.violations, every.violations) == (2, 0)
    assert (half.first_s, half.row()["p50_ms"]) == (0.5, 300.0)


def test_the_nearest_are_counted_by_similarity_so_that_ties_count() -> None:
    measured = Measured("embedding", FOLDER, ALL)
    nearest = np.array([0.9, 0.8, 0.8], np.float32)
    compare(measured, answer_of((1, 0.9), (2, 0.8), (9, 0.8), (3, 0.1)), nearest)
    assert measured.recall == 1.0
    compare(measured, answer_of((1, 0.9), (5, 0.7)), nearest)
    assert measured.recall == pytest.approx(4 / 6)


def test_queries_have_the_nearest_products_of_each_filter(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", Size(3000, 16))
    queries = drawn(tmp_path / "shop", 4)
    assert queries.products == 3000
    assert [queries.nearest[name].shape[1] for name in WAYS[:3]] == [10, 10, 10]
    assert 0 < queries.nearest["0.1%"].shape[1] < 10
    every, half = queries.nearest[ALL], queries.nearest["50%"]
    assert (every >= half - 1e-6).all() and (every[:, 0] > 0.7).all()
    assert filter_of(ALL) is None
    vectors = vectors_of(tmp_path / "shop")
    assert vectors.shape == (3000, 16)
    best = np.sort(queries.vectors @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T)[:, -1]
    np.testing.assert_allclose(best, every[:, 0], atol=1e-3)


def test_the_server_gets_both_catalogs_in_milvus_and_the_folder() -> None:
    text = tomllib.loads(settings("http://127.0.0.1:1", Path("/a b"), Path("/c")))
    found = {name: ServedCatalogSettings(**part) for name, part in text["catalogs"].items()}
    assert {name: part.path for name, part in found.items()} == {
        FOLDER: Path("/a b"),
        REMOTE: None,
        WRITTEN: Path("/c"),
    }


class Service:
    """A catalog and its search in one: `failures` end the next calls, and what is in `kept` is found for ever."""

    def __init__(self, failures: Sequence[SightlineError], kept: Sequence[int], ended: Callable[[], None]) -> None:
        self._failures, self._kept, self._ended = list(failures), kept, ended
        self.deleted: list[str] = []

    async def delete(self, catalog: str, names: list[str], **options: Any) -> tuple[ProductStatus, ...]:
        assert (catalog, options["allow_missing"]) == (WRITTEN, True)
        if self._failures:
            return (ProductStatus(0, names[0], self._failures.pop()),)
        self.deleted += names
        if len(self.deleted) == 5:
            self._ended()
        return (ProductStatus(0, names[0]),)

    async def find_embeddings(self, vectors: list[bytes], **options: Any) -> Answer:
        assert options["catalog"] == WRITTEN and 0 < len(vectors) <= deleting.ASKED
        return answer_of(*((number, 0.9) for number in self._kept), (99, 0.5))


async def deletions_of(failures: Sequence[SightlineError], kept: Sequence[int] = ()) -> Deletions:
    over = asyncio.Event()
    service = Service(failures, kept, over.set)
    clients = cast(AsyncClient, service), cast(AsyncCatalogClient, service)
    deletions = Deletions(*clients, "embedder@1", np.eye(30, dtype=np.float32))
    await deletions.run(over)
    await deletions.look_for_all()
    return deletions


async def test_deletions_are_sent_until_they_are_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "PAUSE_S", 0.0)
    deletions = await deletions_of([AWAY, AWAY])
    assert (deletions.refused, deletions.errors, deletions.seen) == (2, [], [])
    assert deletions.acknowledged[:4] == [0, 1, 2, 3]
    assert deletions.searches >= 4


async def test_a_product_that_is_found_after_its_deletion_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "PAUSE_S", 0.0)
    deletions = await deletions_of([SightlineError("broken", code="INTERNAL")], kept=[2])
    assert set(deletions.seen) == {name_of(2)}
    assert number_of(name_of(2)) == 2
    [error] = deletions.errors
    assert "broken" in error


def struck() -> Struck:
    clients = cast(AsyncClient, None), cast(AsyncCatalogClient, None)
    deletions = Deletions(*clients, "", np.zeros((0, 4), np.float32), acknowledged=[0, 1, 2], searches=3)
    of_remote = [(1.0, "OK"), (11.0, "UNAVAILABLE"), (21.0, "UNAVAILABLE"), *((at, "OK") for at in (31.0, 32.0, 33.0))]
    calls = [Call(REMOTE, at, code, code != "OK", 0.1) for at, code in reversed(of_remote)]
    calls += [Call(FOLDER, at + 0.5, "OK", False, 0.2) for at, _ in of_remote]
    return Struck(deletions, calls, 10.0, 20.0, 28.0, deleted_before=1, deleted_until_start=2)


SEARCHES = [Measured("embedding", REMOTE, "5%", [0.1, 0.2], 0.1, right=20, wanted=20)]


def broken(struck: Struck, searches: Sequence[Measured] = SEARCHES) -> list[str]:
    return [bound.name for bound in bounds(searches, struck) if not bound.kept]


def test_a_run_without_faults_keeps_every_bound() -> None:
    good = struck()
    assert broken(good) == []
    assert outcomes(good.calls) == {REMOTE: {"OK": 4, "UNAVAILABLE, retry": 2}, FOLDER: {"OK": 6}}
    figures = of_kill(good)
    assert (figures["catalog_back_s"], figures["milvus_answers_s"]) == (11.0, 8.0)
    assert figures["deleted"] == {"before": 1, "while_away": 1, "after": 1}
    assert list(table(SEARCHES))[1].split() == ["embedding", "5%", "milvus", "2", "100.0", "150.0", "199.0", "1.0", "0"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda calls: [*calls, Call(REMOTE, 12.0, "UNAVAILABLE", False, 0.1)], "neither answered nor UNAVAILABLE"),
        (lambda calls: [*calls, Call(REMOTE, 12.0, "INTERNAL", True, 0.1)], "neither answered nor UNAVAILABLE"),
        (lambda calls: [*calls, Call(FOLDER, 12.0, "UNAVAILABLE", True, 0.1)], "the other catalog not answered"),
        (lambda calls: [call for call in calls if call.code == "OK"], "kills that refused no photo"),
        (lambda calls: [*calls, Call(REMOTE, 34.0, "UNAVAILABLE", True, 0.1)], "after the catalog was back"),
        (lambda calls: [call for call in calls if call.due < 33.0], "until its catalog answers"),
    ],
)
def test_a_call_that_ends_otherwise_breaks_a_bound(change: Callable[[list[Call]], list[Call]], name: str) -> None:
    found = struck()
    found.calls = change(found.calls)
    assert any(name in each for each in broken(found))


def test_a_deleted_product_a_lost_neighbour_and_a_violation_break_bounds() -> None:
    found = struck()
    found.deletions.seen.append(name_of(0))
    found.deletions.acknowledged.pop()
    searches = [replace(SEARCHES[0], right=19), replace(SEARCHES[0], violations=1)]
    assert broken(found, searches) == [
        "products that a filter excludes",
        "share of the nearest products not found, worst",
        "products seen after their deletion was acknowledged",
        "starts without a deletion afterwards",
    ]
