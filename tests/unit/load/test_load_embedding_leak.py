"""The arithmetic of `load_tests.embedding_leak`."""

import numpy as np
import pytest

from load_tests.embedding_leak import LESS, linked, ranked, share

AXES = np.eye(3, dtype=np.float32)


def test_products_are_ranked_by_their_nearest_image_and_named_once() -> None:
    stored = np.stack([AXES[0], AXES[1], (AXES[0] + AXES[1]) / np.float32(np.sqrt(2))])
    assert ranked(AXES[:1], stored, ["a", "b", "a"]) == [["a", "b"]]
    assert ranked(AXES[1:2], stored, ["a", "b", "a"]) == [["b", "a"]]


def test_objects_are_linked_across_photos_only() -> None:
    sent = np.stack([AXES[0], AXES[0], AXES[1], AXES[0]])
    assert linked(sent, ["a", "b", "b", "a"], ["one", "one", "two", "two"]) == pytest.approx(0.5)
    assert linked(sent[:2], ["a", "b"], ["one", "two"]) == 0.0


def test_a_share_of_nothing_is_none() -> None:
    assert (share([]), share([True, False])) == (0.0, 0.5)


def test_signs_are_those_of_the_deviations_from_the_mean() -> None:
    vectors = np.array([[0.1, 0.9], [0.3, 0.5]], np.float32)
    assert LESS["signs of deviations"](vectors).tolist() == [[-1, 1], [1, -1]]
