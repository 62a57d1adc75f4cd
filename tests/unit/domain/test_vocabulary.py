"""The vocabulary of a detector's configuration, and the operator's words in its place."""

import pytest

from sightline_server.domain.items import Neighbour
from sightline_server.domain.models import DetectorSpec
from sightline_server.domain.vocabulary import DEFAULT_VOCABULARY, parse_vocabulary
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import DetectionSettings, RankingSettings
from sightline_server.stages.detect import finds_people, vocabulary
from sightline_server.stages.rank import rank

LABELS = ("Mensch", "Stuhl", "Hund")


def test_a_stated_vocabulary_replaces_the_default_key_by_key() -> None:
    stated = {"people": ["Mensch"], "not_products": ["Hund"], "synonyms": {"stuhl": "chair"}}
    words = parse_vocabulary("tiny", stated, LABELS)
    assert (set(words.people), set(words.not_products)) == ({"Mensch"}, {"Hund"})
    assert words.synonyms == {("stuhl", "chair")}
    assert parse_vocabulary("tiny", {}, LABELS) == DEFAULT_VOCABULARY
    assert parse_vocabulary("tiny", {"not_products": []}, LABELS).people == DEFAULT_VOCABULARY.people


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"peple": []}, ["`peple`", "'people'"]),
        ({"people": "Mensch"}, ["people", "'Mensch'"]),
        ({"people": ["mensch"]}, ["people", "'mensch'", "labels"]),
        ({"people": [1]}, ["people"]),
        ({"not_products": ["Katze"]}, ["not_products", "'Katze'"]),
        ({"synonyms": ["a"]}, ["synonyms"]),
        ({"synonyms": {"Stuhl": "chair"}}, ["synonyms"]),
        ({"synonyms": {"a b": "chair"}}, ["synonyms"]),
        ({"synonyms": {"stuhl": 1}}, ["synonyms"]),
    ],
)
def test_an_unknown_word_is_refused_with_model_and_key(stated: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SightlineError) as caught:
        parse_vocabulary("tiny", stated, LABELS)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert all(word in caught.value.message for word in ["model tiny", "vocabulary", *words])


def spec_of(**stated: object) -> DetectorSpec:
    """A detector with German labels that states a vocabulary."""
    return DetectorSpec("tiny", "1", 64, 64, 8, LABELS, vocabulary=parse_vocabulary("tiny", stated, LABELS))


def test_the_operators_labels_take_the_place_of_the_models() -> None:
    spec = spec_of(people=["Mensch"], not_products=["Hund"])
    assert finds_people(spec, DetectionSettings())
    assert not finds_people(spec, DetectionSettings(person_labels=frozenset()))
    assert not finds_people(spec_of(), DetectionSettings()), "the default words are English"
    words = vocabulary(spec, DetectionSettings(not_products=frozenset({"Stuhl"})))
    assert (set(words.people), set(words.not_products)) == ({"Mensch"}, {"Stuhl"})


def test_a_synonym_of_the_model_makes_a_category_match() -> None:
    found = Neighbour(0, 0, 0.5, "p", "Chairs", "", 0)

    def reasons(**stated: object) -> int:
        words = spec_of(**stated).vocabulary
        (ranked,) = rank(
            [found], "Stuhl", limit=1, min_similarity=0, settings=RankingSettings(), synonyms=words.synonyms
        )
        return len(ranked.reasons)

    assert (reasons(), reasons(synonyms={"stuhl": "chair"})) == (1, 2)
