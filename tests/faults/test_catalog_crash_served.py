"""A short run of `load_tests.catalog_crash --served` on tiny models.

Longer: `python -m load_tests.catalog_crash --served --rounds 50`.
"""

from pathlib import Path

import pytest

from load_tests.catalog_churn.shop import read_seeds
from load_tests.catalog_crash.served.harm import Harm
from load_tests.catalog_crash.served.rounds import crash_served
from tests.support.small_shop import SmallShop

HARMS = (Harm.STUB, Harm.ENGINE_KILL)


@pytest.mark.engine
def test_a_server_and_an_engine_that_are_ended_lose_no_acknowledged_write(shop: SmallShop, tmp_path: Path) -> None:
    seeds = read_seeds(shop.catalog, shop.catalog.parent)
    found = crash_served(tmp_path, seeds, HARMS, writers=4, products=20, seed=1, variables=shop.variables())
    assert found.kept, found
    assert (found.rounds, found.starts, found.lost, found.engines_ended) == (2, 2, 0, 1)
    assert found.acknowledged_images > 0 < found.written_while_down
