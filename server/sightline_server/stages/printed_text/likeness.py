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
    """The likeness 0..1 of `text` to the texts of each product that shares enough with it, by the product's id.

    All products have as many texts, such as a name and the text of an image; the one that is most alike counts.
    """
    read = runs_of(text)
    found: dict[str, float] = {}
    for texts in zip(*products.values(), strict=True):
        for product_id, likeness in zip(products, likenesses_of_texts(read, texts), strict=True):
            if likeness > found.get(product_id, 0.0):
                found[product_id] = likeness
    return found


def likenesses_of_texts(read: Collection[str], texts: Sequence[str]) -> list[float]:
    """The likeness 0..1 of the runs that were read to each of `texts`; 0 where they share too few."""
    runs = [runs_of(each) for each in texts]
    weights = {run: weight**2 for run, weight in rarity(runs).items()}
    known = weights.keys() & read
    length = sqrt(sum(weights[run] for run in known))
    found = []
    for own in runs:
        shared = own & known
        common = sum(weights[run] for run in shared)
        enough = len(shared) >= LEAST_SHARED and common > 0
        found.append(min(1.0, common / (length * sqrt(sum(weights[run] for run in own)))) if enough else 0.0)
    return found


def rarity(texts: Collection[Collection[str]]) -> dict[str, float]:
    """The weight of each run: the logarithm of the number of texts over that of the texts that have it."""
    counts = Counter(run for runs in texts for run in runs)
    return {run: log(len(texts) / count) for run, count in counts.items()}


def tells_apart(products: Mapping[str, Sequence[str]]) -> bool:
    """Returns whether some of the products have texts with runs that others lack."""
    kinds = zip(*products.values(), strict=True)
    return any(weight for texts in kinds for weight in rarity([runs_of(each) for each in texts]).values())
