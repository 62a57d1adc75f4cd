"""The parts of writes to a catalog in Milvus that need no Milvus."""

from pathlib import Path

import numpy as np
import pytest

from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate
from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.index.milvus import fields
from sightline_server.index.milvus.binding import FILE, Binding, read_binding
from sightline_server.index.milvus.gated_writer import GatedWriter
from sightline_server.index.milvus.live import MilvusLive
from sightline_server.index.milvus.nearest import Found, nearest_products
from sightline_server.index.milvus.reach import FIRST_WRITTEN, Reach, Tombstones, first_row, product_number
from sightline_server.index.milvus.snapshot import latest
from sightline_server.index.milvus.written_rows import rows_of_table
from sightline_server.index.schema import MAX_IMAGES, to_table
from tests.support.backend_shop import ids, many
from tests.support.catalogs import unit_vectors, write_catalog
from tests.support.lens import FakeEngine

EMBEDDER, EMBEDDERS = FakeEngine().embedder, FakeEngine().embedders


def test_rows_of_an_operation_are_those_of_a_push_but_for_their_numbers(tmp_path: Path) -> None:
    rows = many(40, dimension=EMBEDDER.dimension)
    write_catalog(tmp_path / "shop", rows, EMBEDDER)
    pushed = [row for part in fields.rows_of(open_catalog(tmp_path / "shop")) for row in part]
    seqs = {row.product.id: 100 + place for place, row in enumerate(rows)}
    written = rows_of_table(to_table(rows, EMBEDDER.dimension), seqs)
    assert len(written) == len(pushed)
    for one, other in zip(written, pushed, strict=True):
        assert one[fields.PRIMARY] >= first_row(seqs[one["id"]])
        assert one[fields.PRIMARY] < first_row(seqs[one["id"]]) + MAX_IMAGES
        same = {name: other[name] for name in other if name not in (fields.PRIMARY, "product", "item_group")}
        np.testing.assert_allclose(one[fields.VECTOR], other[fields.VECTOR], atol=1e-6)
        assert {name: one[name] for name in same if name != fields.VECTOR} == {
            name: same[name] for name in same if name != fields.VECTOR
        }
        if one["item_group_id"]:
            assert one["item_group"] == other["item_group"] >= 0
    alone = [row["item_group"] for row in written if not row["item_group_id"] and row["first_image"]]
    assert len(alone) == len(set(alone)) and max(alone) < 0
    assert rows_of_table(to_table(rows[:1], EMBEDDER.dimension).slice(0, 0), {}) == []


def test_numbers_of_operations_follow_each_other_and_those_of_a_push() -> None:
    assert first_row(0) == FIRST_WRITTEN
    assert first_row(7) + MAX_IMAGES <= first_row(8)
    assert product_number(7) < product_number(8)


def test_a_row_is_shown_between_its_acknowledgement_and_its_replacement() -> None:
    reach = Reach(first_row(5), {"a": first_row(4), "pushed": first_row(3)})
    assert reach.hides("a", first_row(2)) and not reach.hides("a", first_row(4))
    assert reach.hides("pushed", 17) and not reach.hides("other", 17)
    assert not reach.hides("b", first_row(4) + 19) and reach.hides("b", first_row(5))


def test_a_tombstone_stays_until_milvus_has_had_time_for_its_deletion() -> None:
    now = 0.0
    tombstones = Tombstones(kept_s=10.0, clock=lambda: now)
    tombstones.add({"a": 4, "b": 5})
    now = 1000.0
    assert tombstones.reach(9).replaced == {"a": 4, "b": 5}, "the deletion has not succeeded"
    tombstones.deleted(["a"])
    tombstones.add({"a": 7})
    now = 1009.0
    tombstones.deleted(["b"])
    now = 1010.5
    assert tombstones.reach(9).replaced == {"a": 7, "b": 5}, "it was written again meanwhile"
    now = 1020.0
    assert tombstones.reach(9).replaced == {"a": 7}
    assert len(tombstones) == 1


def found(image: int, similarity: float, product_id: str, product: int = 0) -> Found:
    return Found(similarity, image, product or image, product_id, "", "", image)


def test_more_rows_are_asked_for_where_hidden_ones_took_the_places() -> None:
    hidden = [found(number, 0.9 - number / 1e4, "old") for number in range(40)]
    every = [*hidden, *(found(100 + number, 0.5 - number / 1e3, f"p{number}") for number in range(20))]
    reach = Reach(1000, {"old": 50})
    asked: list[int] = []

    def search(_queries: object, count: int) -> list[list[Found]]:
        asked.append(count)
        return [every[:count]]

    [nearest] = nearest_products(
        search,
        unit_vectors(1, 1),
        3,
        [False],
        max_images=1,
        most=16_384,
        shown=lambda rows: [row for row in rows if not reach.hides(row.product_id, row.image)],
    )
    assert ids(nearest) == ["p0", "p1", "p2"]
    assert len(asked) > 1


def test_of_two_versions_of_a_product_the_later_one_is_shown() -> None:
    rows = [found(1, 0.9, "a", 1), found(first_row(3), 0.8, "a", product_number(3)), found(2, 0.7, "b", 2)]
    assert [row.image for row in latest(rows)] == [first_row(3), 2]


def test_a_binding_counts_for_the_next_opening_of_the_log_only(tmp_path: Path) -> None:
    assert read_binding(tmp_path) is None
    Binding("collection", epoch=4, seq=9).write(tmp_path)
    read = read_binding(tmp_path)
    assert read == Binding("collection", 4, 9)
    assert read.holds("collection", 4) and read.holds("collection", 5)
    assert not read.holds("collection", 6) and not read.holds("other", 5)
    (tmp_path / FILE).write_text("[]")
    assert read_binding(tmp_path) is None
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def test_a_checkpoint_waits_for_milvus(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", many(5, dimension=EMBEDDER.dimension), EMBEDDER)
    live = MilvusLive(tmp_path / "shop", "shop", EMBEDDERS)
    for check in (live.require_settled, live.require_writable, live.view):
        with pytest.raises(SightlineError) as caught:
            check()
        assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE and caught.value.retry_after_s
    with LivingCatalog(tmp_path / "shop") as catalog:
        live.store = catalog.store
        with pytest.raises(SightlineError):
            live.apply(())
        assert live.sizes.products == 0


class Recording:
    """A writer that says what reached it."""

    name = "shop"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        async def call(*_args: object, **_options: object) -> str:
            self.calls.append(name)
            return name

        return call


async def test_a_write_reaches_the_writer_only_where_milvus_can_show_it(tmp_path: Path) -> None:
    live = MilvusLive(tmp_path, "shop", EMBEDDERS)
    writer = Recording()
    gated = GatedWriter(writer, live)  # type: ignore[arg-type]
    row = CatalogRow(Product("a"), None, ("a.jpg",), unit_vectors(1, 1))
    for call in (gated.upsert([row]), gated.update([ProductUpdate("a", {})]), gated.delete(["a"])):
        with pytest.raises(SightlineError, match="nothing of this request was written"):
            await call
    with pytest.raises(SightlineError, match="is not set back while it is served") as caught:
        await gated.activate(1)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    live.require_writable = lambda: None  # type: ignore[method-assign]
    large = {f"a{number}": '"' * 5000 for number in range(12)}
    for call in (
        gated.upsert([CatalogRow(Product("a", attributes=large), None, ("a.jpg",), unit_vectors(1, 1))]),
        gated.update([ProductUpdate("a", {}, attributes=large)]),
    ):
        with pytest.raises(SightlineError, match="more than 65535 bytes") as caught:
            await call
        assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not writer.calls
    await gated.upsert([row])
    await gated.update([ProductUpdate("a", {})])
    await gated.delete(["a"])
    await gated.get("a")
    assert writer.calls == ["upsert", "update", "delete", "get"]
