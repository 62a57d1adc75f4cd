"""Draws of labelled photos, and what fails the command."""

import numpy as np
import pytest

from load_tests.adapter_draws import Figures, decide, draws, fails
from tests.support.shop_photos import photographed_shop

SHOP = photographed_shop(each=4)


def test_a_draw_has_so_many_photos_of_each_product_and_leaves_the_others() -> None:
    photos = SHOP.shop_photos(labelled=True)
    found = {kind: (drawn, others) for kind, drawn, others in draws(photos, 2, 0)}
    everything, others = found["all"]
    assert everything.products is not None
    assert (np.unique(everything.products, return_counts=True)[1] == 2).all()
    assert len(everything) + len(others) == len(photos)
    half, exchanged = found["half"][0].products, found["exchanged"][0].products
    assert half is not None and exchanged is not None
    assert len(np.unique(half)) == 31
    assert (exchanged != everything.products).mean() > 0.8
    assert (np.unique(exchanged, return_counts=True)[1] == 2).all()


def test_true_labels_are_kept_and_exchanged_ones_are_not() -> None:
    photos, images = SHOP.shop_photos(labelled=True), SHOP.shop_images()
    figures = {kind: Figures() for kind in ("all", "half", "exchanged")}
    for kind, drawn, others in draws(photos, 2, 0):
        decide(figures[kind], photos, images, drawn, others)
    assert figures["all"].kept == ["head"]
    assert figures["exchanged"].kept == ["nothing"]
    others = figures["all"].shown()["others"]
    assert others["hit@1 after"] > others["hit@1 before"]
    assert not fails(figures)


def drawn(*kept: str, unshown: tuple[float, float, float, float] = (0.3, 0.7, 0.3, 0.7)) -> Figures:
    return Figures([*kept], [], [[*unshown]])


@pytest.mark.parametrize(
    ("everything", "half", "exchanged", "failed"),
    [
        (drawn("head", "head"), drawn("nothing"), drawn("nothing", "head"), False),
        (drawn("head", "nothing"), drawn("head"), drawn("nothing"), True),
        (drawn("head"), drawn("head"), drawn("head", "head"), True),
        (drawn("head"), drawn("head", unshown=(0.3, 0.7, 0.29, 0.7)), drawn("nothing"), True),
        (drawn("head"), drawn("head", unshown=(0.3, 0.7, 0.3, 0.69)), drawn("nothing"), True),
    ],
)
def test_what_the_rule_must_not_do_fails_the_command(
    everything: Figures, half: Figures, exchanged: Figures, failed: bool
) -> None:
    assert fails({"all": everything, "half": half, "exchanged": exchanged}) == failed
