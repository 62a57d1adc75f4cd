"""GTINs of catalogs: the rows that have one, in a revision that is built and in one that is written to."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.filters import Filter
from sightline_server.domain.gtin import to_gtin
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.gtins import MOST_PRODUCTS, GtinRows
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.opening import build_snapshot
from sightline_server.ports import Snapshot
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog

GTIN, OTHER = 4006381333931, 36000291452
TEXTS = st.one_of(
    st.text("0123456789 -\n\u2013x", max_size=18),
    st.sampled_from(["4006381333931", "036000291452", "96385074", "00000000"]),
)


@given(st.lists(TEXTS, max_size=20))
def test_a_column_has_the_gtins_of_its_texts(texts: list[str]) -> None:
    found = GtinRows.of(pa.chunked_array([pa.array(texts, pa.large_string())]))
    expected = {gtin for text in texts if (gtin := to_gtin(text))}
    assert set(found.numbers.tolist()) == expected
    for gtin in (*expected, GTIN + 1):
        assert found.having(gtin).tolist() == [place for place, text in enumerate(texts) if to_gtin(text) == gtin]


async def ids(snapshot: Snapshot, gtin: int = GTIN) -> list[str]:
    """The ids of the products with a GTIN; both ways of asking for them give the same."""
    coded = await snapshot.with_gtin(gtin)
    if coded is None:
        return []
    (near,) = await coded.snapshot.nearest(unit_vectors(1, 5), 200)
    assert {each.row for each in near} == {each.row for each in coded.neighbours}
    assert {to_gtin(each.gtin) for each in snapshot.products([each.row for each in near])} == {gtin}
    links = snapshot.image_links([each.image for each in coded.neighbours])
    assert all(link for link in links)
    return sorted(each.product_id for each in near)


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


def write_shop(path: Path) -> None:
    write_catalog(
        path,
        [
            row("a", unit_vectors(2, 1), gtin="4006381333931", brand="Acme"),
            row("b", unit_vectors(1, 2), gtin="0 4006381 333931", brand="Other"),
            row("c", unit_vectors(3, 3), gtin="036000291452"),
            row("d", unit_vectors(1, 4), gtin="4006381333932"),
            row("e", unit_vectors(1, 5)),
        ],
    )


async def test_a_gtin_finds_its_products_and_their_similarity(tmp_path: Path, device: DeviceThread) -> None:
    write_shop(tmp_path / "shop")
    snapshot = build_snapshot(tmp_path / "shop", "shop", SPEC, device)
    assert snapshot.has_gtins
    assert await ids(snapshot) == ["a", "b"]
    assert await ids(snapshot, OTHER) == ["c"]
    assert await ids(snapshot, 4006381333932) == await ids(snapshot, 1) == []
    query = unit_vectors(1, 8)
    (every,) = await snapshot.nearest(query, 5)
    coded = await snapshot.with_gtin(GTIN)
    assert coded is not None
    (found,) = await coded.snapshot.nearest(query, 5)
    near = {each.product_id: each.similarity for each in every}
    assert {each.product_id: each.similarity for each in found} == pytest.approx({each: near[each] for each in "ab"})
    await snapshot.close()


async def test_a_filter_hides_products_from_their_code(tmp_path: Path, device: DeviceThread) -> None:
    write_shop(tmp_path / "shop")
    snapshot = build_snapshot(tmp_path / "shop", "shop", SPEC, device)
    assert await ids(await snapshot.select(Filter(brands=("Acme",)))) == ["a"]
    assert await ids(await snapshot.select(Filter(excluded_product_ids=("a",)))) == ["b"]
    assert await ids(await snapshot.select(Filter(product_ids=("c",)))) == []
    assert await ids(await snapshot.select(Filter(brands=("none",)))) == []
    await snapshot.close()


async def test_a_placeholder_that_many_products_have_matches_none(tmp_path: Path, device: DeviceThread) -> None:
    rows = [row(f"p{n}", unit_vectors(1, n), gtin="4006381333931") for n in range(MOST_PRODUCTS + 1)]
    write_catalog(tmp_path / "all", rows)
    assert len(open_catalog(tmp_path / "all").display) == MOST_PRODUCTS + 1
    snapshot = build_snapshot(tmp_path / "all", "all", SPEC, device)
    assert await ids(snapshot) == []
    await snapshot.close()


async def test_a_catalog_without_gtins_says_so(tmp_path: Path, device: DeviceThread) -> None:
    write_catalog(tmp_path / "none", [row("a", unit_vectors(1, 1), gtin="12")])
    snapshot = build_snapshot(tmp_path / "none", "none", SPEC, device)
    assert not snapshot.has_gtins
    await snapshot.close()


async def test_writes_move_codes_at_once_and_earlier_views_keep_theirs(tmp_path: Path, device: DeviceThread) -> None:
    path = tmp_path / "shop"
    write_shop(path)
    live = LiveIndex(path, "shop", SPEC, device)
    catalog = LivingCatalog(path, store=CatalogStore(path, published=live))
    with catalog:
        first = live.open()
        catalog.delete(["a"])
        deleted = live.view()
        catalog.update([ProductUpdate("b", {"gtin": "036000291452"})])
        changed = live.view()
        catalog.upsert([row("new", unit_vectors(2, 9), gtin="4006381333931"), row("c", unit_vectors(1, 3))])
        upserted = live.view()
        catalog.update([ProductUpdate("new", {"gtin": ""}), ProductUpdate("e", {"gtin": "96385074"})])
        catalog.delete(["b", "e"])
        last = live.view()
        for view, of_gtin, of_other in [
            (first, ["a", "b"], ["c"]),
            (deleted, ["b"], ["c"]),
            (changed, [], ["b", "c"]),
            (upserted, ["new"], ["b"]),
            (last, [], []),
        ]:
            assert (await ids(view), await ids(view, OTHER)) == (of_gtin, of_other)
        assert await ids(await upserted.select(Filter(excluded_product_ids=("new",)))) == []
        assert await ids(await first.select(Filter(brands=("Acme",)))) == ["a"]
        assert await ids(last, 96385074) == []
        live.close()
