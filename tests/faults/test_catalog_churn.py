"""Short runs of `load_tests.catalog_churn` and `catalog_soak` on tiny models: everything that they count is right."""

from collections.abc import Iterator

import pytest

from load_tests.catalog_churn.__main__ import compare
from load_tests.catalog_churn.shop import Shop, read_seeds, served
from load_tests.catalog_churn.turns import Load
from load_tests.catalog_soak import soak
from sightline.v1 import lens_service_pb2
from tests.support.small_shop import PHOTO, SmallShop

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]
REQUESTS = [lens_service_pb2.SearchRequest(photo=PHOTO).SerializeToString()]
TIMES = {
    "search p99 under churn over idle",
    "search p99 during merges and checkpoints over idle",
    "s from acknowledged to found, p99 of the server's checks",
    "s from acknowledged to found, p99",
    "files at the end over the most of the first third",
    "bytes at the end over the most of the first third",
}
"""Bounds that a short run on a busy machine says nothing of."""


@pytest.fixture(scope="module")
def written(shop: SmallShop) -> Iterator[Shop]:
    """A server that writes and searches sixty copies of the small shop's images."""
    with served(read_seeds(shop.catalog, shop.catalog.parent), 60, shop.variables()) as running:
        yield running


def broken(bounds: dict[str, float]) -> dict[str, float]:
    """The bounds on counts that are not zero."""
    counts = {"versions of the base"} | TIMES
    return {
        name: value
        for name, value in bounds.items()
        if value and name not in counts and not name.startswith("s from acknowledged to found, p99 of")
    }


def test_a_short_churn_finds_every_write_and_answers_every_search(written: Shop) -> None:
    load = Load(rate=60, images_rate=5, photos=4, seconds=2, checkpoint_s=0.9, check_s=0.3)
    found = compare(written, REQUESTS, load, turns=1, warm_up_s=0.5)
    [idle], [churn] = found["idle"], found["churn"]
    assert broken(found["bounds"]) == {}
    assert (idle["codes"], churn["codes"]) == ({"OK": 8}, {"OK": 8})
    assert (churn["written"], churn["embedded"]) == (120, 10)
    assert churn["checkpoints"] >= 2
    assert churn["found_max_s"] < 10
    assert churn["ack_p50_ms"] > 0 < churn["embedded_ack_p50_ms"]
    assert "written" not in idle


def test_a_short_soak_samples_disk_recall_and_versions(written: Shop) -> None:
    load = Load(rate=40, images_rate=0, photos=4, seconds=2, checkpoint_s=0.6, check_s=0.5)
    found = soak(written, REQUESTS, load)
    assert broken(found["bounds"]) == {}
    assert found["turn"]["written"] == 80
    assert all(1 <= disk["versions"] <= 60 and disk["files"] > 3 for disk in found["disk"])
    assert found["disk"][-1]["recall"] == 1.0
    assert found["rss_mb_per_minute"] == {}
