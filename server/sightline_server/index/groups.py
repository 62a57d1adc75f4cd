"""Nearest vectors -> nearest products by item group. Pure.

Rule: the order is that of `neighbours.py` (one hit per product, ties by product id), and k counts groups. Everything is
done on whole arrays: where one article has thousands of variants, thousands of hits come before the second group.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.neighbours import SAME_SIMILARITY, TIE_SLACK, Hit, HitColumns, IdOrder

MEMBERS = 100
"""Products of one group that are returned, the nearest ones. The ranking chooses among them."""


def first_attempt_for_groups(k: int) -> int:
    """The number of vectors to ask for first: enough for groups of four products, in a catalog of one image each."""
    return 4 * k + TIE_SLACK


def distinct_groups(
    hits: HitColumns, groups: NDArray[np.integer[Any]], k: int, id_order: IdOrder, *, exhausted: bool
) -> list[Hit] | None:
    """One hit per product, nearest first, up to the first one of group `k` + 1; at most `MEMBERS` of a group.

    `groups` [N] are the numbers of the hits' groups. None when more hits are needed to decide. With `exhausted` there
    are no more hits, and these decide.
    """
    ties = tie_numbers(hits.similarities)
    # The last group of ties may go on beyond the last hit.
    whole = len(ties) if exhausted else int(np.searchsorted(ties, ties[-1:]).sum())
    hits, ties = hits.take(slice(whole)), ties[:whole]
    order = np.lexsort((hits.vectors, ranks_in_ties(hits.products, ties, id_order), ties))
    order = order[first_places(hits.products[order])]
    ordered = groups[order]
    starts = first_places(ordered)
    if len(starts) <= k and not exhausted:
        return None
    end = starts[k] if len(starts) > k else len(order)
    kept = order[:end][place_in_group(ordered[:end]) < MEMBERS]
    tops = hits.similarities[np.searchsorted(ties, ties[kept])]
    return replace(hits.take(kept), similarities=tops).hits()


def tie_numbers(similarities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers the groups of one similarity, [N], from 0 upwards: within `SAME_SIMILARITY` of the first of the group."""
    numbers, number, top = [], -1, np.inf
    for similarity in similarities.tolist():
        if top - similarity > SAME_SIMILARITY:
            number, top = number + 1, similarity
        numbers.append(number)
    return np.array(numbers, np.int64)


def ranks_in_ties(
    products: NDArray[np.integer[Any]], ties: NDArray[np.int64], id_order: IdOrder
) -> NDArray[np.integer[Any]]:
    """A number for each hit, [N], that orders hits of one similarity by product id; 0 for a hit that ties with none."""
    ranks = np.zeros(len(products), np.int64)
    tied = np.bincount(ties)[ties] > 1 if len(ties) else np.zeros(0, bool)
    if tied.any():
        ranks[tied] = id_order(products[tied])
    return ranks


def first_places(values: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """The index of the first element of each distinct value, in ascending order."""
    places: NDArray[np.intp] = np.sort(np.unique(values, return_index=True)[1])
    return places


def place_in_group(groups: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """The number of earlier elements of the same group, [N]."""
    order = np.argsort(groups, kind="stable")
    grouped = groups[order]
    places = np.empty(len(groups), np.intp)
    places[order] = np.arange(len(groups)) - np.searchsorted(grouped, grouped)
    return places
