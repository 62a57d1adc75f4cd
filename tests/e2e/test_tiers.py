"""Less than a photo with the real models: crops and embeddings that an app makes give the products of the photo.

Each under grants. The app knows what `GetServerInfo` says and has the embedder's file, and nothing else of the server.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline_client import (
    Answer,
    Box,
    Client,
    ClientOptions,
    EmbedderInfo,
    ObjectSource,
    PermissionDeniedError,
    grants,
)
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.places import default_repository
from tests.support.engine import sightline_home
from tests.support.grants import AUDIENCE, ISSUER
from tests.support.pictures import encode
from tests.support.world import PRODUCTS, RunningServer, World, draw_photo, product_id, running

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
BOXES = (Box(20 / 480, 0.0, 140 / 480, 1.0), Box(170 / 480, 0.0, 290 / 480, 1.0), Box(320 / 480, 0.0, 440 / 480, 1.0))
"""The columns of a drawn photo that hold its three products."""

PATIENT_S = 30.0
"""Deadline of a call, the longest that a server allows: twelve crops are twelve runs of the detector."""


class App:
    """An app that makes embeddings by the file of the embedder, as the server describes it."""

    def __init__(self, embedder: EmbedderInfo) -> None:
        file = default_repository(sightline_home()) / "embedder" / "1" / "model.onnx"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == embedder.sha256
        assert embedder.preprocess["resize"] == "squash" and embedder.preprocess["color"] == "RGB"
        self._embedder = embedder
        self._session: Any = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def embedding(self, crop: Image.Image) -> NDArray[np.float32]:
        """The embedding float32 [D] of a crop."""
        size = (self._embedder.input_width, self._embedder.input_height)
        pixels = np.asarray(crop.resize(size, Image.Resampling.BICUBIC), np.uint8)
        (name,) = (each.name for each in self._session.get_inputs())
        (vector,) = self._session.run(None, {name: pixels[None]})[0]
        assert vector.shape == (self._embedder.dimension,)
        return np.asarray(vector, np.float32)


@pytest.fixture(scope="module", params=["EdDSA", "ES256"])
def signer(request: pytest.FixtureRequest) -> grants.GrantSigner:
    return grants.GrantSigner(grants.new_key(request.param), ISSUER, AUDIENCE)


@pytest.fixture(scope="module")
def requiring(
    world: World, signer: grants.GrantSigner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server that requires a grant for each search."""
    folder = tmp_path_factory.mktemp("consent")
    (folder / "grants.json").write_text(grants.public_keys(signer.key))
    consent = {"MODE": "required", "JWKS_FILE": str(folder / "grants.json"), "ISSUER": ISSUER, "AUDIENCE": AUDIENCE}
    variables = {f"SIGHTLINE_CONSENT__{name}": value for name, value in consent.items()}
    with running(world, folder / "server.log", **variables) as server:
        yield server


def parts_of(image: Image.Image) -> list[Image.Image]:
    """The parts of an image in `BOXES`."""
    width, height = image.size
    return [
        image.crop((round(box.x_min * width), round(box.y_min * height), round(box.x_max * width), height))
        for box in BOXES
    ]


def ids(answer: Answer, depth: int = 3) -> list[list[str]]:
    """The ids of the best products of each object."""
    assert all(found.failure is None for found in answer.objects)
    return [[ranked.product.id for ranked in found.products[:depth]] for found in answer.objects]


def image_of(data: bytes) -> Image.Image:
    """The decoded image."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_catalog_images_as_crops_and_as_embeddings_are_their_own_products(
    requiring: RunningServer, world: World, signer: grants.GrantSigner
) -> None:
    with Client(ClientOptions(requiring.target, timeout_s=PATIENT_S)) as client:
        catalog = client.server_info().catalog()
        assert catalog is not None
        app = App(catalog.embedder)
        pictures = [world.picture(number) for number in range(PRODUCTS)]
        own = [product_id(number) for number in range(PRODUCTS)]
        of_crops = client.find_crops(pictures, grant=signer.grant_crops(pictures))
        assert [each[0] for each in ids(of_crops)] == own
        vectors = [app.embedding(image_of(picture)) for picture in pictures]
        grant = signer.grant_embeddings(vectors)
        of_vectors = client.find_embeddings(vectors, embedder=catalog.embedder.id, grant=grant)
        assert [each[0] for each in ids(of_vectors)] == own
        assert {found.object.source for found in of_vectors.objects} == {ObjectSource.EMBEDDING}
        assert all(found.products[0].similarity > 0.98 for found in (*of_crops.objects, *of_vectors.objects))


@pytest.mark.parametrize("seed", range(4))
def test_crops_and_embeddings_of_a_photo_find_what_its_boxes_find(
    requiring: RunningServer, signer: grants.GrantSigner, seed: int
) -> None:
    image = draw_photo(seed)
    photo, parts = encode(image, "PNG"), parts_of(image)
    with Client(ClientOptions(requiring.target, timeout_s=PATIENT_S)) as client:
        of_photo = ids(client.find(photo, regions=BOXES, grant=signer.grant(photo)))
        crops = [encode(part, "PNG") for part in parts]
        assert ids(client.find_crops(crops, grant=signer.grant_crops(crops))) == of_photo
        catalog = client.server_info().catalog()
        assert catalog is not None
        app = App(catalog.embedder)
        vectors = [app.embedding(part) for part in parts]
        grant = signer.grant_embeddings(vectors)
        of_vectors = client.find_embeddings(vectors, embedder=catalog.embedder.id, grant=grant)
        assert [each[0] for each in ids(of_vectors)] == [each[0] for each in of_photo]


def test_a_grant_of_one_tier_serves_no_other(
    requiring: RunningServer, world: World, signer: grants.GrantSigner
) -> None:
    picture = world.picture(0)
    with Client(ClientOptions(requiring.target, timeout_s=PATIENT_S)) as client:
        catalog = client.server_info().catalog()
        assert catalog is not None
        vector = App(catalog.embedder).embedding(image_of(picture))
        searches: dict[str, Callable[[str], Answer]] = {
            signer.grant(picture): lambda grant: client.find(picture, grant=grant),
            signer.grant_crops([picture]): lambda grant: client.find_crops([picture], grant=grant),
            signer.grant_embeddings([vector]): lambda grant: client.find_embeddings(
                [vector], embedder=catalog.embedder.id, grant=grant
            ),
        }
        for own, search in searches.items():
            for grant in searches:
                if grant != own:
                    with pytest.raises(PermissionDeniedError) as caught:
                        search(grant)
                    assert caught.value.reason == "GRANT_OTHER_PHOTO"
        for own, search in searches.items():
            assert search(own).objects
            with pytest.raises(PermissionDeniedError) as used:
                search(own)
            assert used.value.reason == "GRANT_REPLAYED"


def test_the_file_that_the_documentation_names_is_there() -> None:
    assert (Path(default_repository(sightline_home())) / "embedder" / "1" / "model.onnx").is_file()
