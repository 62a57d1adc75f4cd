"""`UpsertProducts`: one message -> one product, checked, embedded, written -> one status.

Rule: whatever one product does costs that product only; an error of the call is about all of them.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.v1 import catalog_service_pb2
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.image_views import ONE_VIEW, embedder_named
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt
from sightline_server.domain.view_vectors import in_views
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import CatalogWriter, ImageEmbedders
from sightline_server.rpc.catalog.names import catalog_name, check_id, product_id_in, product_name
from sightline_server.rpc.catalog.products import check_link, checked_product
from sightline_server.rpc.catalog.statuses import ProductStatus, outcome, refused
from sightline_server.rpc.catalog.terms import check_etag, check_request_id, terms_of
from sightline_server.rpc.catalog.upsert_fields import MAX_IMAGES, UpsertRequest, parse_upsert
from sightline_server.rpc.refusals import invalid
from sightline_server.rpc.vectors import check_vector, names

log = logging.getLogger(__name__)

MAX_PRODUCTS = 200_000
"""Products of one stream, whose ids are remembered to find duplicates."""
MARGIN_S = 0.1
"""Seconds before the deadline of the call in which a product that waits for room is refused."""

ProductImage = catalog_service_pb2.ProductImage
Response = catalog_service_pb2.UpsertProductsResponse


@dataclass(slots=True)
class Naming:
    """The facts that are known of a message so far, for its status."""

    name: str = ""
    key: bytes = b""


class Upserts:
    """The products of one call, written by `writer`."""

    def __init__(self, writer: CatalogWriter, images: ImageEmbedders, request_id: str, deadline: float) -> None:
        self._writer = writer
        self._images = images
        self._call_id = request_id
        self._deadline = deadline
        self._sent: set[bytes] = set()
        self._count = 0

    async def respond(self, raw: bytes) -> Response:
        """The status of the product in one message. Raises `SightlineError` after `MAX_PRODUCTS`."""
        self._count += 1
        if self._count > MAX_PRODUCTS:
            message = f"a stream has at most {MAX_PRODUCTS} products; send the others in another call"
            raise SightlineError(ErrorKind.LIMIT_EXCEEDED, message)
        naming = Naming()
        try:
            status = await self._status(parse_upsert(raw), naming)
        except SightlineError as error:
            status = self._failed(naming, error)
        except Exception:  # libraries raise whatever their converters meet; it must cost this product only
            log.exception("a product could not be written", extra={"request_id": self._call_id})
            status = self._failed(naming, SightlineError(ErrorKind.INTERNAL, "internal error"))
        return Response(status=status)

    def _failed(self, naming: Naming, error: SightlineError) -> ProductStatus:
        # It can be sent again, corrected, in the same stream.
        self._sent.discard(naming.key)
        return refused(naming.name, error, self._call_id)

    async def _status(self, request: UpsertRequest, naming: Naming) -> ProductStatus:
        catalog = self._writer.name
        if request.parent not in ("", catalog_name(catalog)):
            raise invalid("parent", "all products of a stream are of the catalog that its first message names")
        product_id = self._id_of(request, catalog)
        naming.name = product_name(catalog, product_id)
        check_request_id(request.request_id)
        check_etag("product.etag", request.product.etag)
        product, price = checked_product(request.product.product, product_id, "product.product")
        links = links_of(request.product.images, product.image_link)
        self._claim(product_id, naming)
        to_row = partial(CatalogRow, product, price)
        receipt = await self._written(to_row, links, [asdict(product), links], product_id, request)
        return outcome(naming.name, receipt.seqs[0], self._call_id)

    async def _written(
        self,
        to_row: Callable[..., CatalogRow],
        links: Sequence[str],
        facts: list[Any],
        product_id: str,
        request: UpsertRequest,
    ) -> Receipt:
        """The receipt of a product. Its images are embedded again where the catalog got another embedder meanwhile."""
        try:
            return await self._write(to_row, links, facts, product_id, request)
        except SightlineError as error:
            if error.kind is not ErrorKind.EMBEDDER_CHANGED:
                raise
        return await self._write(to_row, links, facts, product_id, request)

    async def _write(
        self,
        to_row: Callable[..., CatalogRow],
        links: Sequence[str],
        facts: list[Any],
        product_id: str,
        request: UpsertRequest,
    ) -> Receipt:
        sent, embedder, views = request.product, self._writer.embedder, self._writer.views
        found = await self._vectors(sent.images, embedder, views)
        etags = {product_id: sent.etag} if sent.etag else {}
        content = [*facts, [digest(image, each[0]) for image, each in zip(sent.images, found, strict=True)]]
        terms = terms_of("UpsertProducts", content, etags, validate_only=request.validate_only)
        kept = ((), ()) if request.validate_only else await self._kept(sent.images, embedder)
        row, deadline = (
            viewed(partial(to_row, embedder=embedder, views=views), links, found, kept),
            self._deadline - MARGIN_S,
        )
        return await self._writer.upsert([row], request.request_id, terms=terms, deadline=deadline)

    def _id_of(self, request: UpsertRequest, catalog: str) -> str:
        sent = request.product
        check = sent.product.id
        if not check and sent.name:
            return product_id_in("product.name", sent.name, catalog)
        check_id("product.product.id", check)
        if sent.name and product_id_in("product.name", sent.name, catalog) != check:
            raise invalid("product.name", "it names another product than product.product.id")
        return check

    def _claim(self, product_id: str, naming: Naming) -> None:
        key = hashlib.blake2b(product_id.encode(), digest_size=16).digest()
        if key in self._sent:
            raise invalid("product.product.id", "this stream has sent a product with this id before")
        self._sent.add(key)
        naming.key = key

    async def _vectors(
        self, images: Sequence[ProductImage], spec: EmbedderSpec, views: int
    ) -> list[NDArray[np.float32]]:
        """The embeddings [N,D] of each image by `spec`, one for each view; ready ones as they are."""
        ready = {
            place: to_vector(image, spec, place, views)[np.newaxis]
            for place, image in enumerate(images)
            if has_vector(image)
        }
        places = [place for place, image in enumerate(images) if not has_vector(image)]
        if places:
            made = await self._made([images[place].data for place in places], places, spec, views)
            ready |= dict(zip(places, made, strict=True))
        return [ready[place] for place in range(len(images))]

    async def _kept(
        self, images: Sequence[ProductImage], spec: EmbedderSpec
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of the kept files of all images, and those of their local features.

        A name is empty for a ready embedding; there are none where nothing is kept.
        """
        sent = [place for place, image in enumerate(images) if not has_vector(image)]
        data = [images[place].data for place in sent]
        files, features = await self._writer.keep(data), tuple[str, ...]()
        if data and self._writer.keeps_features:
            features = await self._writer.keep_features(await self._images.of(spec).describe(data))
        return at_places(sent, files, len(images)), at_places(sent, features, len(images))

    async def _made(
        self, images: Sequence[bytes], places: Sequence[int], spec: EmbedderSpec, views: int
    ) -> list[NDArray[np.float32]]:
        try:
            return await self._images.of(spec).embed(images, deadline=self._deadline, views=views)
        except SightlineError as error:
            if not error.field.startswith("images["):
                raise
            # The embedder counts the images that it was given.
            field = f"product.images[{places[int(error.field[7:-1])]}].data"
            text = error.message.partition(": ")[2]
            raise SightlineError(error.kind, f"{field}: {text}", field=field) from error


def links_of(images: Sequence[ProductImage], image_link: str) -> tuple[str, ...]:
    """The links of the images. Raises `SightlineError` for images that cannot be stored."""
    if not images:
        raise invalid("product.images", "a product needs at least one image")
    if len(images) > MAX_IMAGES:
        raise invalid("product.images", f"{len(images)} images, at most {MAX_IMAGES} are allowed")
    for place, image in enumerate(images):
        if image.WhichOneof("content") is None or not (image.data or has_vector(image)):
            raise invalid(f"product.images[{place}]", "it has neither data nor an embedding")
        check_link(f"product.images[{place}].link", image.link)
    return tuple(image.link or image_link for image in images)


def viewed(
    to_row: Callable[..., CatalogRow],
    links: Sequence[str],
    found: Sequence[NDArray[np.float32]],
    kept: Sequence[Sequence[str]],
) -> CatalogRow:
    """The row of a product whose images have the embeddings `found`, each [N,D].

    `kept` are the names of their files, and of their local features.
    """
    places, vectors = in_views(found, MAX_IMAGES)
    originals, features = (tuple(each[place] for place in places) if each else () for each in kept)
    return to_row(tuple(links[place] for place in places), vectors, originals=originals, features=features)


def at_places(places: Sequence[int], names: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` names, those of `places` in their order and the others empty; none where there are no `names`."""
    named = dict(zip(places, names, strict=False))
    return tuple(named.get(place, "") for place in range(count)) if named else ()


def has_vector(image: ProductImage) -> bool:
    """Returns whether the image comes as an embedding."""
    return bool(image.WhichOneof("content") == "embedding")


def to_vector(image: ProductImage, spec: EmbedderSpec, place: int, views: int = ONE_VIEW) -> NDArray[np.float32]:
    """The ready embedding float32 [D] of an image, for a catalog with so many `views`. Raises `SightlineError`."""
    field, sent = f"product.images[{place}].embedding", image.embedding
    if not names(embedder_named(sent.embedder, views), spec):
        raise invalid(f"{field}.embedder", f"it is not that of the catalog, {spec.identity}")
    if len(sent.values) != spec.dimension:
        raise invalid(f"{field}.values", f"{len(sent.values)} numbers, expected {spec.dimension}")
    vector = np.fromiter(sent.values, np.float32, len(sent.values))
    check_vector(f"{field}.values", vector)
    return vector


def digest(image: ProductImage, vector: NDArray[np.float32]) -> str:
    """SHA-256 of the content of an image as it was sent: of its bytes, or of its ready embedding, which is `vector`."""
    content = vector.astype("<f4", copy=False).tobytes() if has_vector(image) else image.data
    return hashlib.sha256(content).hexdigest()
