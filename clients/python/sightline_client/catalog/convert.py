"""Between the messages of CatalogService and the typed values, both ways.

Rule: what a caller gives is checked on the way (`FieldError`); what a server sends is taken as it is, and what this
client does not know becomes UNKNOWN or None.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import product_pb2
from sightline_client import status, values
from sightline_client.catalog import checks, names
from sightline_client.catalog.products import (
    KEEP,
    CatalogProduct,
    Embedding,
    Price,
    ProductDeletion,
    ProductImage,
    ProductStatus,
    ProductUpdate,
)
from sightline_client.catalog.revisions import CatalogInfo, Revision, RevisionKind
from sightline_client.filter_checks import FieldError

TEXTS = ("title", "brand", "category", "availability", "link", "image_link", "item_group_id", "gtin")
UPDATED_TEXTS = tuple(name for name in TEXTS if name != "image_link")
KINDS: Mapping[int, RevisionKind] = {
    pb.REVISION_KIND_BUILD: RevisionKind.BUILD,
    pb.REVISION_KIND_CHECKPOINT: RevisionKind.CHECKPOINT,
    pb.REVISION_KIND_ROLLBACK: RevisionKind.ROLLBACK,
    pb.REVISION_KIND_PREPARED: RevisionKind.PREPARED,
    pb.REVISION_KIND_ADAPTED: RevisionKind.ADAPTED,
}


def product_to_pb(product: object, max_image_bytes: int) -> pb.CatalogProduct:
    """The message of a product to write. Raises `FieldError`, and `PhotoTooLargeError` for one of its images."""
    if not isinstance(product, CatalogProduct):
        raise FieldError("product", f"must be a CatalogProduct, not {values.quoted(product)}")
    texts = {name: checks.named(name, values.text, getattr(product, name)) for name in TEXTS}
    return pb.CatalogProduct(
        product=product_pb2.Product(
            id=checks.named("id", checks.required_text, product.id),
            **texts,
            price=price_text(checks.price(product.price)),
            attributes=checks.attributes(product.attributes),
        ),
        images=[image_to_pb(image) for image in checks.images(product.images, max_image_bytes)],
        etag=checks.named("etag", values.text, product.etag),
    )


def image_to_pb(image: ProductImage) -> pb.ProductImage:
    """The message of a checked image."""
    if isinstance(image.content, Embedding):
        embedding = pb.Embedding(embedder=image.content.embedder, values=image.content.values)
        return pb.ProductImage(link=image.link, embedding=embedding)
    return pb.ProductImage(link=image.link, data=bytes(image.content or b""))


def update_to_pb(catalog: str, update: object) -> pb.ProductUpdate:
    """The message of an update. Raises `FieldError`."""
    if not isinstance(update, ProductUpdate):
        raise FieldError("update", f"must be a ProductUpdate, not {values.quoted(update)}")
    product_id = checks.named("id", checks.required_text, update.id)
    changed = {name: getattr(update, name) for name in (*UPDATED_TEXTS, "price", "attributes")}
    changed = {name: value for name, value in changed.items() if value is not KEEP}
    if not changed:
        raise FieldError("update", "must have a new value for at least one field")
    fields = {name: CHANGES.get(name, text_change(name))(value) for name, value in changed.items()}
    message = pb.ProductUpdate(
        name=names.product_name(catalog, product_id),
        product=product_pb2.Product(id=product_id, **fields),
        etag=checks.named("etag", values.text, update.etag),
    )
    message.update_mask.paths.extend(changed)
    return message


def text_change(name: str) -> Callable[[object], Any]:
    """The check of a text that an update changes."""
    return lambda value: checks.named(name, values.text, value)


CHANGES: Mapping[str, Callable[[object], Any]] = {
    "price": lambda value: price_text(checks.price(value)),
    "attributes": checks.attributes,
}


def deletion_to_pb(catalog: str, deletion: object) -> pb.ProductDeletion:
    """The message of a deletion, also for a plain id. Raises `FieldError`."""
    wanted = ProductDeletion(deletion) if isinstance(deletion, str) else deletion
    if not isinstance(wanted, ProductDeletion):
        raise FieldError("deletion", f"must be an id or a ProductDeletion, not {values.quoted(deletion)}")
    product_id = checks.named("id", checks.required_text, wanted.id)
    return pb.ProductDeletion(
        name=names.product_name(catalog, product_id), etag=checks.named("etag", values.text, wanted.etag)
    )


def price_text(price: Price | None) -> str:
    """The text of a price in the contract, empty for none."""
    return "" if price is None else str(price)


def price_from_text(text: str) -> Price | None:
    """The price of a text such as "15.00 USD"; None for an empty one and for a form that this client does not know."""
    amount, _, currency = text.partition(" ")
    try:
        return Price(Decimal(amount), currency) if currency else None
    except InvalidOperation:
        return None


def product_from_pb(message: pb.CatalogProduct) -> CatalogProduct:
    """The product of an answer, with the links of its images."""
    product = message.product
    return CatalogProduct(
        id=product.id,
        images=tuple(ProductImage(link=image.link) for image in message.images),
        **{name: getattr(product, name) for name in TEXTS},
        price=price_from_text(product.price),
        attributes=dict(product.attributes),
        etag=message.etag,
    )


def status_from_pb(message: pb.ProductStatus, index: int, product_id: str) -> ProductStatus:
    """The outcome of the product at `index`."""
    return ProductStatus(index, product_id, status.error_of(message.status))


def catalog_from_pb(message: pb.Catalog) -> CatalogInfo:
    """The catalog of an answer."""
    return CatalogInfo(
        name=names.catalog_of(message.name),
        revision=message.revision,
        revision_number=message.revision_number,
        products=message.product_count,
        pending_writes=message.pending_writes,
        embedder=message.embedder.id,
        dimension=message.embedder.dimension,
        updated_at=moment(message.update_time) if message.HasField("update_time") else None,
        etag=message.etag,
    )


def revision_from_pb(message: pb.Revision) -> Revision:
    """The revision of an answer."""
    return Revision(
        number=message.number,
        revision=message.revision,
        digest=message.digest,
        products=message.product_count,
        images=message.image_count,
        kind=KINDS.get(message.kind, RevisionKind.UNKNOWN),
        created_at=moment(message.create_time) if message.HasField("create_time") else None,
        note=message.note,
        creator=message.creator,
        available=message.available,
        generation=message.generation,
    )


def moment(message: Timestamp) -> datetime | None:
    """The time of an answer, in UTC; None for one that Python cannot hold."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
