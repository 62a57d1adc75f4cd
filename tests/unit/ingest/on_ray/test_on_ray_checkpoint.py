"""The checkpoint of a build on Ray: what it keeps, what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.links import UnreadableImageError
from sightline_server.ingest.on_ray import parts
from sightline_server.ingest.on_ray.checkpoint import Checkpoint
from sightline_server.ingest.on_ray.parts import EmbeddedImage, Part
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages, key_of
from tests.support.catalogs import DIMENSION, SPEC, unit_vectors

FEED = {"feed": "aa"}


def image(link: str, seed: int = 0, content: bytes = b"c" * 16) -> EmbeddedImage:
    return EmbeddedImage(key_of(link), unit_vectors(1, seed).astype(np.float16), content)


def failed(link: str) -> EmbeddedImage:
    return EmbeddedImage(key_of(link), error="the server answered 404")


def content(*images: EmbeddedImage, spec: EmbedderSpec = SPEC) -> bytes:
    return parts.encode(Part(spec, images))


def test_a_part_survives_its_encoding() -> None:
    found = parts.decode(content(failed("a"), image("b"), failed("c"), image("d", 1)))
    assert found.embedder == SPEC
    assert [each.error for each in found.images] == ["the server answered 404", "", "the server answered 404", ""]
    for each, expected in zip((found.images[1], found.images[3]), (image("b"), image("d", 1)), strict=True):
        assert each.embeddings is not None
        assert np.array_equal(each.embeddings, expected.embeddings)  # type: ignore[arg-type]
        assert (each.key, each.content) == (expected.key, expected.content)


def test_a_part_without_any_embedding_survives_its_encoding() -> None:
    found = parts.decode(content(failed("a")))
    assert found.images[0].embeddings is None


def test_what_was_added_is_there_after_it_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with Checkpoint(folder, FEED) as checkpoint:
        assert (checkpoint.embedded, checkpoint.embedder) == (set(), None)
        checkpoint.add(3, content(image("a"), failed("b")), "here")
    with Checkpoint(folder, FEED) as checkpoint:
        assert checkpoint.embedded == {key_of("a")}
        assert checkpoint.embedder == SPEC
        checkpoint.add(3, content(image("b", 1)), "here")
    assert sorted(path.name for path in folder.glob("part*")) == [
        "part-0001-000003.parquet",
        "part-0002-000003.parquet",
    ]
    with Checkpoint(folder, FEED) as checkpoint, SeenImages(tmp_path, DIMENSION) as seen:
        same = SameImages()
        checkpoint.fill(seen, same)
        stored = seen.get("b")
        assert isinstance(stored, np.ndarray)
        assert np.array_equal(stored, unit_vectors(1, 1).astype(np.float16).astype(np.float32))
        assert same.most == 2


def test_an_image_that_failed_is_known_with_its_reason(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "kept", FEED) as checkpoint, SeenImages(tmp_path, DIMENSION) as seen:
        checkpoint.add(0, content(failed("b"), image("a")), "here")
        checkpoint.fill(seen, SameImages())
        reason = seen.get("b")
        assert isinstance(reason, UnreadableImageError)
        assert str(reason) == "the server answered 404"


def test_a_checkpoint_of_another_feed_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with Checkpoint(tmp_path, FEED) as checkpoint:
        checkpoint.add(0, content(image("a")), "here")
    with pytest.raises(SightlineError, match=r"another build \(its feed differs\)\. Remove the folder") as caught:
        Checkpoint(tmp_path, {"feed": "bb"}).__enter__()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    with Checkpoint(tmp_path, FEED) as checkpoint:
        assert checkpoint.embedded


def test_a_checkpoint_without_an_embedding_is_removed(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "kept", FEED) as checkpoint:
        checkpoint.add(0, content(failed("a")), "here")
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with Checkpoint(tmp_path, FEED), pytest.raises(SightlineError, match="another process"):
        Checkpoint(tmp_path, FEED).__enter__()


def test_another_folder_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("x")
    with pytest.raises(SightlineError, match=r"is not a checkpoint of a build: it holds letters\.txt"):
        Checkpoint(tmp_path, FEED).__enter__()


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    with Checkpoint(tmp_path, FEED) as checkpoint:
        checkpoint.add(0, content(image("a")), "here")
    [path] = tmp_path.glob("part*")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SightlineError, match=r"part-0001-000000\.parquet cannot be read; remove it"):
        Checkpoint(tmp_path, FEED).__enter__()


def test_a_part_of_another_embedder_is_refused(tmp_path: Path) -> None:
    with Checkpoint(tmp_path, FEED) as checkpoint:
        checkpoint.add(0, content(image("a")), "here")
        other = EmbedderSpec("tiny", "1", 4, 4, DIMENSION, sha256="cd" * 32)
        with pytest.raises(SightlineError, match="the worker on there has another embedder"):
            checkpoint.add(1, content(image("b"), spec=other), "there")
        assert checkpoint.embedded == {key_of("a")}


def test_removing_it_leaves_nothing(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "kept", FEED) as checkpoint:
        checkpoint.add(0, content(image("a")), "here")
        checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_part_keeps_the_views_of_each_image_apart(tmp_path: Path) -> None:
    views = [EmbeddedImage(key_of(f"{count}"), unit_vectors(count, count).astype(np.float16)) for count in (2, 1, 2)]
    views[1] = EmbeddedImage(key_of("x"), views[1].embeddings)
    made = content(*views[:2], failed("c"), views[2])
    found = parts.decode(made).images
    assert [None if each.embeddings is None else each.embeddings.shape for each in found] == [
        (2, DIMENSION),
        (1, DIMENSION),
        None,
        (2, DIMENSION),
    ]
    with Checkpoint(tmp_path / "kept", FEED) as checkpoint, SeenImages(tmp_path, DIMENSION, 2) as seen:
        checkpoint.add(0, made, "here")
        checkpoint.fill(seen, SameImages())
        for name, image in (("2", views[0]), ("x", views[1])):
            stored = seen.get(name)
            assert isinstance(stored, np.ndarray)
            assert np.array_equal(stored, image.embeddings.astype(np.float32))  # type: ignore[union-attr]
