"""Rows of a feed into the catalog of a running server: products, products with ready embeddings, and updates.

Rule: reports are those of the same rows in a folder (`upsert`, `updates`); what the server refuses is a `Problem`
of its row.
"""

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing
from decimal import Decimal
from typing import TypeAlias

from sightline_console.remote_catalog import Outcome, RemoteCatalog, RemoteImage, RemoteProduct, RemoteUpdate
from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import ProductUpdate
from sightline_server.index.schema import CatalogRow, Price
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.embedded_rows import ReadyRow
from sightline_server.ingest.feed_rows import Problem, ProblemKind
from sightline_server.ingest.fetched import Fetched
from sightline_server.ingest.upsert import UpsertReport, require_products

Row: TypeAlias = Fetched | ReadyRow | Problem

TEXTS = ("title", "brand", "category", "availability", "link", "image_link", "item_group_id", "gtin")


class RemoteUpsert:
    """One upsert through a server; `rows` are read by the thread that sends them."""

    def __init__(self, progress: Progress, name: str, *, strict: bool) -> None:
        self._progress = progress
        self._name = name
        self._strict = strict
        self._sent: deque[tuple[int, str]] = deque()
        self._problems: list[Problem] = []
        self._products = 0

    def run(self, rows: Generator[Row, None, None], catalog: RemoteCatalog) -> UpsertReport:
        """Sends every row and collects the outcomes. `rows` are closed by the thread that reads them.

        Errors as `upsert_feed`, and `RemoteError`.
        """
        for outcome in catalog.upsert(self._products_of(rows)):
            row, product_id = self._sent.popleft()
            if outcome.fault:
                self._report(refused(row, product_id, outcome))
            else:
                self._products += 1
        require_products(self._products, len(self._problems), self._name)
        return UpsertReport(self._products, tuple(self._problems))

    def _products_of(self, rows: Generator[Row, None, None]) -> Generator[RemoteProduct, None, None]:
        with closing(rows):
            for number, row in enumerate(rows, 1):
                if isinstance(row, Problem):
                    self._report(row)
                elif isinstance(row, Fetched):
                    self._sent.append((row.row.row, row.product.id))
                    images = [RemoteImage(link, data) for link, data in row.images]
                    yield remote_product(row.product, row.row.price, images)
                else:
                    ready = row.row
                    if len(ready.embeddings) != len(ready.images):
                        fault = f"it has {len(ready.images)} images and {len(ready.embeddings)} embeddings"
                        self._report(Problem(row.line, ProblemKind.UNUSABLE_EMBEDDING, fault, ready.product.id))
                        continue
                    self._sent.append((row.line, ready.product.id))
                    yield remote_product(ready.product, ready.price, ready_images(ready, row.embedder))
                if number % 100 == 0:
                    self._progress.rows(number)

    def _report(self, problem: Problem) -> None:
        self._problems.append(problem)
        self._progress.problem(problem)
        if self._strict:
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"{self._name}, {problem}")


def remote_product(product: Product, price: Price | None, images: Sequence[RemoteImage]) -> RemoteProduct:
    """A product as it is sent."""
    texts = {name: text for name in TEXTS if (text := getattr(product, name))}
    return RemoteProduct(product.id, texts, amount_of(price), product.attributes, images)


def ready_images(row: CatalogRow, embedder: str) -> list[RemoteImage]:
    """The images of a product with ready embeddings."""
    return [
        RemoteImage(link, embedder=embedder, values=[float(number) for number in vector])
        for link, vector in zip(row.images, row.embeddings, strict=True)
    ]


def remote_update(update: ProductUpdate) -> RemoteUpdate:
    """An update as it is sent."""
    return RemoteUpdate(update.id, dict(update.texts), amount_of(update.price))


def amount_of(price: Price | None) -> tuple[Decimal, str] | None:
    """The amount and the currency of a price."""
    return None if price is None else (price.amount, price.currency)


def refused(row: int, product_id: str, outcome: Outcome) -> Problem:
    """The problem of a row that the server did not take."""
    kind = ProblemKind.UNREADABLE_IMAGE if outcome.reason == "INVALID_IMAGE" else ProblemKind.REFUSED
    return Problem(row, kind, outcome.fault, product_id)
