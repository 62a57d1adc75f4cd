"""The living catalog's judge: it must count what a search should not have returned."""

from pathlib import Path

import numpy as np
import pytest

from load_tests.gpu.living import K, Shop, Tally, Written, brand_of, of_brand
from sightline_server.domain.items import Neighbour, Product


class Titles:
    """Reads products, all with one title."""

    def __init__(self, title: str) -> None:
        self._title = title

    def products(self, rows: list[int]) -> list[Product]:
        return [Product(f"p{row}", title=self._title) for row in rows]


def hit(number: int) -> Neighbour:
    return Neighbour(number, number, 0.5, f"p{number}", "", "in_stock", number)


@pytest.mark.parametrize(
    ("numbers", "title", "wrong"),
    [
        ([0, 1, 2], "built", 0),
        ([0, 1, 7], "built", 1),
        ([0, 1, 1], "built", 1),
        ([0, 1, 2], "older", 3),
    ],
    ids=["right", "excluded or deleted", "twice", "outdated"],
)
def test_an_answer_is_judged_by_its_ids_and_titles(tmp_path: Path, numbers: list[int], title: str, wrong: int) -> None:
    shop, tally = Shop(tmp_path, 20, 8), Tally()
    expected = np.full(3, 0.5, np.float32)
    shop._judge(Titles(title), [hit(n) for n in numbers], {"p0", "p1", "p2"}, expected, tally)  # type: ignore[arg-type]
    assert (tally.answers, tally.wrong_ids, tally.too_few) == (1, wrong, 0)


def test_the_nearest_by_numpy_are_of_the_products_that_are_allowed(tmp_path: Path) -> None:
    model = Shop(tmp_path, 200, 8)._model
    brand = model.products["p0"].brand
    ids, best = model.nearest(model.products["p0"].vector[np.newaxis], of_brand(brand))
    assert ids == {name for name, each in model.products.items() if each.brand == brand}
    assert best[0, 0] == pytest.approx(1.0, abs=1e-3)
    assert best.shape[1] == min(K, len(ids))


def test_brands_have_the_shares_that_they_name() -> None:
    drawn = np.random.default_rng(0).random(20_000)
    share = np.mean([brand_of(each) == "0.05" for each in drawn])
    assert share == pytest.approx(0.05, abs=0.01)
    assert brand_of(0.999) == "other"
    assert of_brand("other")(Written("built", "other", True, np.zeros(1, np.float32)))
