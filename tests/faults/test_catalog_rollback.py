"""A small run of `load_tests.catalog_rollback`: its searches and digests are right, whatever it takes."""

import math
from pathlib import Path

from load_tests.catalog_rollback import FEW, play
from load_tests.catalog_scale.shop import Size


def test_rollbacks_under_searches_find_the_content_of_their_revision(tmp_path: Path) -> None:
    found = play(tmp_path, Size(1100, 16))
    assert [each.changed for each in found] == [FEW, FEW, 1100, 1100]
    assert all(each.same_digest and each.searches > 0 for each in found), found
    assert sum(each.wrong for each in found) == 0, found
    assert all(0 < each.seen_s < math.inf for each in found)
