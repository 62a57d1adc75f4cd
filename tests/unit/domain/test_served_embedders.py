"""The served embedder that a catalog is bound to, and the one that an operator names."""

from dataclasses import replace

import pytest

from sightline_server.domain.embedders import ServedEmbedders, embedder_role
from sightline_server.domain.models import EMBEDDER, EmbedderSpec
from sightline_server.domain.preprocess import parse_preprocess
from sightline_server.errors import ErrorKind, SightlineError

FIRST = EmbedderSpec("first", "1", 32, 32, 8, sha256="a1" * 32)
SECOND = EmbedderSpec("second", "1", 16, 16, 12, sha256="b2" * 32)
OTHER_ROLE = embedder_role("embedder-second")
BOTH = ServedEmbedders.of([(EMBEDDER, FIRST), (OTHER_ROLE, SECOND)])


def test_each_catalog_is_bound_to_its_own_embedder() -> None:
    assert [BOTH.serving(spec) for spec in (FIRST, SECOND)] == [FIRST, SECOND]
    assert BOTH.bound_to(SECOND).role == OTHER_ROLE
    assert BOTH.first.spec == FIRST and BOTH.identities == (FIRST.identity, SECOND.identity)


def test_a_catalog_is_bound_to_the_same_file_under_another_name() -> None:
    renamed = replace(SECOND, name="another name", version="7")
    assert BOTH.serving(renamed) == SECOND
    assert BOTH.embedder_of(BOTH.serving(renamed).identity).role == OTHER_ROLE


def test_equal_files_with_different_preprocesses_are_different_embedders() -> None:
    how = parse_preprocess("embedder", {"resize": "letterbox", "fill": 7}, 32, 32, FIRST.preprocess)
    boxed = replace(FIRST, name="boxed", preprocess=how)
    both = ServedEmbedders.of([(EMBEDDER, FIRST), (OTHER_ROLE, boxed)])
    assert [both.bound_to(spec).role for spec in (FIRST, boxed)] == [EMBEDDER, OTHER_ROLE]


def test_a_catalog_of_no_served_embedder_is_refused_and_those_served_are_named() -> None:
    with pytest.raises(SightlineError) as refused:
        BOTH.serving(replace(FIRST, name="third", sha256="c3" * 32))
    assert refused.value.kind is ErrorKind.CONFIGURATION
    for name in ("third@c3c3c3c3c3c3", "first@a1a1a1a1a1a1 (embedder)", "second@b2b2b2b2b2b2 (embedder-second)"):
        assert name in refused.value.message


def test_a_single_embedder_gives_the_reason() -> None:
    for embedders in (FIRST, ServedEmbedders.of([(EMBEDDER, FIRST)])):
        with pytest.raises(SightlineError, match="dimension 12 in the catalog, 8 in the engine"):
            embedders.serving(SECOND)
    assert FIRST.serving(replace(FIRST, version="2")) is FIRST


def test_two_embedders_of_one_identity_are_refused() -> None:
    with pytest.raises(SightlineError, match="embedder and embedder-second are both first@a1a1a1a1a1a1; give one"):
        ServedEmbedders.of([(EMBEDDER, FIRST), (OTHER_ROLE, replace(FIRST, dimension=9))])


@pytest.mark.parametrize("text", ["embedder-second", "second", "second@b2b2b2b2b2b2", f"second@{'b2' * 32}"])
def test_an_embedder_is_named_by_folder_name_or_identity(text: str) -> None:
    assert BOTH.named(text).spec == SECOND


def test_an_unknown_name_is_refused_with_those_that_are_served() -> None:
    with pytest.raises(SightlineError, match=r"no embedder 'third'; the engine serves embedder \(first@a1"):
        BOTH.named("third")
