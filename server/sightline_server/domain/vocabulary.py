"""The meaning of a detector's labels to the server: people, what no shop sells, and synonyms of a shop's words.

Rule: the words belong to the model and are in its configuration; the COCO words apply to a model that states none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sightline_models.coco import COCO_VOCABULARY, DARKNET_NOT_PRODUCTS
from sightline_server.errors import ErrorKind, SightlineError

Synonyms = frozenset[tuple[str, str]]
"""Pairs of lower-case words: one that a label or a category may have, and the one that stands for both."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Labels that mean a person, labels that never become objects, and synonyms between labels and categories."""

    people: frozenset[str]
    not_products: frozenset[str]
    synonyms: Synonyms

    def with_overrides(self, people: Iterable[str] | None, not_products: Iterable[str] | None) -> "Vocabulary":
        """The vocabulary with an operator's words in place of the model's; None keeps the model's."""
        return Vocabulary(
            self.people if people is None else frozenset(people),
            self.not_products if not_products is None else frozenset(not_products),
            self.synonyms,
        )


DEFAULT_VOCABULARY = Vocabulary(
    frozenset(COCO_VOCABULARY["people"]),
    frozenset({*COCO_VOCABULARY["not_products"], *DARKNET_NOT_PRODUCTS}),
    frozenset(COCO_VOCABULARY["synonyms"].items()),
)


def parse_vocabulary(model: str, facts: Mapping[str, Any], labels: tuple[str, ...]) -> Vocabulary:
    """The `vocabulary` of the configuration of the detector `model`; a key that it leaves out has the default.

    Raises `SightlineError` of kind CONFIGURATION for a key that is not known, a value of another type, and a word that
    is not among `labels`: a person whose label is misspelt would be searched.
    """
    if unknown := sorted(set(facts) - set(COCO_VOCABULARY)):
        raise refusal(model, f"there is no key `{unknown[0]}`; possible are {', '.join(map(repr, COCO_VOCABULARY))}")
    people, not_products = (label_list(model, key, facts.get(key), labels) for key in ("people", "not_products"))
    synonyms = facts.get("synonyms")
    default = DEFAULT_VOCABULARY
    if synonyms is not None:
        default = replace(default, synonyms=synonym_pairs(model, synonyms))
    return default.with_overrides(people, not_products)


def synonym_pairs(model: str, given: object) -> Synonyms:
    """The stated synonyms. Raises CONFIGURATION unless each maps a lower-case word to a lower-case word."""
    if not isinstance(given, dict) or not all(is_word(word) for pair in given.items() for word in pair):
        raise refusal(model, "`synonyms` must be a JSON object of lower-case words to lower-case words")
    return frozenset(given.items())


def label_list(model: str, key: str, words: object, labels: tuple[str, ...]) -> list[str] | None:
    """The stated labels, None for none stated. Raises CONFIGURATION unless they are some of `labels`."""
    if words is None:
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise refusal(model, f"`{key}` must be a JSON list of labels, is {words!r}")
    if unknown := [word for word in words if word not in labels]:
        raise refusal(model, f"`{key}` has {unknown[0]!r}, which is not among the model's `labels`")
    return words


def is_word(text: object) -> bool:
    """Returns whether `text` is one lower-case word, as labels and categories are compared."""
    return isinstance(text, str) and text.isascii() and text.isalpha() and text.islower()


def refusal(model: str, text: str) -> SightlineError:
    """The refusal of a vocabulary."""
    return SightlineError(ErrorKind.CONFIGURATION, f"model {model}: `vocabulary` in config.pbtxt: {text}")
