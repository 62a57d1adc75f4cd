"""A short run of `load_tests.catalog_crash`, and that the run would notice a lost or a torn group."""

from pathlib import Path

import pytest

from load_tests.catalog_crash.expected import Expected
from load_tests.catalog_crash.rounds import Result, compare, crash
from load_tests.catalog_crash.rows import GROUP, SPEC, product_row
from sightline_server.index.living import LivingCatalog
from tests.support.catalogs import write_catalog


@pytest.mark.parametrize(("signals", "terminated"), [("kill", 0), ("term", 2)])
def test_writers_that_are_ended_lose_no_acknowledged_group(tmp_path: Path, signals: str, terminated: int) -> None:
    result = crash(tmp_path, rounds=2, writers=4, products=20, seed=3, signals=signals)
    assert (result.lost, result.damaged, result.not_stopped, result.rounds) == (0, 0, 0, 2)
    assert result.acknowledged > 0
    assert result.terminated == terminated


def test_a_lost_and_a_torn_group_are_counted(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [product_row("p0", 1)], SPEC)
    expected = Expected()
    ids = {name: [f"{name}-{number}" for number in range(GROUP)] for name in ("w0-0", "w0-1", "w0-2", "w0-3")}
    with LivingCatalog(shop) as living:
        for slot, name in enumerate(ids):
            for word in ("sent", "done"):
                expected.read(f"{word} upsert 0 {slot} {slot}")
            living.upsert([product_row(each, slot) for each in ids[name]])
        expected.read("sent update 0 3 9")
    whole = Result()
    compare(shop, expected, whole)
    assert whole.lost == 0
    with LivingCatalog(shop) as living:
        living.delete(ids["w0-0"])
        living.delete(ids["w0-1"][:1])
        living.upsert([product_row(each, 77) for each in ids["w0-2"]])
    harmed = Result()
    compare(shop, expected, harmed)
    assert harmed.lost == 3
