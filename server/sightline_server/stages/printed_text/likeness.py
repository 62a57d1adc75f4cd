"""The likeness of a text that was read to the texts of products. Pure.

    text -> words without case and accents -> runs of three characters -> weights by rarity -> cosine
Rule: misread letters cost a few runs and not a word. A run counts the less the more of the products have it, so
that the brand which all of them share says nothing. Runs that no product has do not count: a package says much that a
title does not.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import log, sqrt

RUN = 3
"""Characters of a run."""
MOST_CHARACTERS = 2000
"""Characters of a text that are compared."""
LEAST_SHARED = 3
"""Runs in common, below which a likeness is chance."""
WORD = re.compile(r"[^\W_]+")


def runs_of(text: str) -> frozenset[str]:
    """The runs of three characters in the words of `text`, each word with a space before and after it."""
    plain = unicodedata.normalize("NFKD", text[:MOST_CHARACTERS].casefold())
    letters = "".join(each for each in plain if not unicodedata.combining(each))
    words = (f" {word} " for word in WORD.findall(letters))
    return frozenset(word[start : start + RUN] for word in words for start in range(len(word) - RUN + 1))


def likenesses(text: str, products: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The likeness 0..1 of `text` to the texts of each product that shares enough with it, by the product's id."""
    runs = {product_id: runs_of("\n".join(texts)) for product_id, texts in products.items()}
    weights = rarity(runs.values())
    read = runs_of(text) & weights.keys()
    length = sqrt(sum(weights[run] ** 2 for run in read))
    found: dict[str, float] = {}
    for product_id, own in runs.items():
        shared = own & read
        common = sum(weights[run] ** 2 for run in shared)
        if len(shared) >= LEAST_SHARED and common > 0:
            found[product_id] = min(1.0, common / (length * sqrt(sum(weights[run] ** 2 for run in own))))
    return found


def rarity(texts: Collection[Collection[str]]) -> dict[str, float]:
    """The weight of each run: the logarithm of the number of texts over that of the texts that have it."""
    counts = Counter(run for runs in texts for run in runs)
    return {run: log(len(texts) / count) for run, count in counts.items()}
