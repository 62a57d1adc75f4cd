"""The comparison of ranks before and after: what is a gain, what is a loss, and what chance explains."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.ingest.adapting import paired as paired_module
from sightline_server.ingest.adapting.paired import LEVEL, Paired, value_of

PRODUCTS = np.arange(80, dtype=np.int32)


def ranks(seed: int, photos: int = 80) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 11, photos)


def better(before: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Ranks of which a share is halved, as an adapter would do it, and an eighth of that share is doubled."""
    chance = np.random.default_rng(seed).random(len(before))
    after = np.where(chance < share, (before + 1) // 2, before)
    return np.where(chance > 1 - share / 8, np.where(before > 5, 0, before * 2), after)


def test_a_rank_is_worth_less_the_lower_it_is_and_a_product_not_found_is_worth_nothing() -> None:
    assert value_of(np.array([1, 2, 3, 10, 0])) == pytest.approx([1.0, 0.6309, 0.5, 0.2891, 0.0], abs=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_a_gain_of_several_places_is_found_for_each_draw(seed: int) -> None:
    before = ranks(seed)
    after = np.stack([better(before, 0.6, 10 * seed + repeat) for repeat in range(4)])
    paired = Paired(before, after, PRODUCTS)
    assert paired.is_gain
    assert not paired.is_loss


def test_the_same_ranks_are_neither_gain_nor_loss() -> None:
    paired = Paired(ranks(1), ranks(1)[np.newaxis], PRODUCTS)
    assert (paired.chance, paired.is_gain, paired.is_loss) == (1.0, False, False)


def test_ranks_by_chance_are_a_gain_as_often_as_the_level_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired_module, "FLIPS", 499)
    kept = [Paired(ranks(seed), ranks(1000 + seed)[np.newaxis], PRODUCTS).chance <= LEVEL for seed in range(200)]
    assert np.mean(kept) <= 2 * LEVEL


def test_a_gain_at_the_price_of_first_places_is_none() -> None:
    before = np.where(np.arange(80) < 8, 1, 9)
    after = np.where(np.arange(80) < 8, 2, 4)
    paired = Paired(before, after[np.newaxis], PRODUCTS)
    assert paired.chance <= LEVEL
    assert not paired.is_gain


def test_a_loss_is_a_doubt_only() -> None:
    before = np.ones(80, np.int64)
    after = np.where(np.arange(80) < 2, 0, 1)
    paired = Paired(before, after[np.newaxis], PRODUCTS)
    assert paired.is_loss
    assert not Paired(before, np.where(np.arange(80) < 1, 0, 1)[np.newaxis], PRODUCTS).is_loss


def test_the_photos_of_a_product_are_one_case() -> None:
    before, after = np.full(80, 3), np.full(80, 2)
    assert Paired(before, after[np.newaxis], PRODUCTS).is_gain
    assert not Paired(before, after[np.newaxis], PRODUCTS // 20).is_gain, "four products can be so by chance"


def test_repeats_are_averaged_for_each_photo() -> None:
    before = np.array([2, 2])
    paired = Paired(before, np.array([[1, 2], [2, 1]]), np.array([0, 1], np.int32))
    assert paired.gains == pytest.approx([(1 - 0.6309) / 2] * 2, abs=1e-4)
    assert paired.rates() == {"before": 0.0, "after": 0.5}


def test_the_same_ranks_give_the_same_chance() -> None:
    first, again = (Paired(ranks(3), better(ranks(3), 0.3, 4)[np.newaxis], PRODUCTS).chance for _ in range(2))
    assert first == again
