"""Products that are written at a steady rate, and how long each waits for its acknowledgement.

Rule: an open loop, as far as one stream allows: a wait counts from the instant at which a product was due, so that a
pause of the server shows in every product that it held up.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice

from load_tests.catalog_churn.shop import NAME, Seeds, name_of
from sightline_client import AsyncCatalogClient, CatalogProduct, Embedding, ProductImage


@dataclass(frozen=True, slots=True)
class Made:
    """A product to write: its number among all that were made, from 0, and that of the seed that it resembles."""

    number: int
    seed: int
    product: CatalogProduct


@dataclass(frozen=True, slots=True)
class Products:
    """Products to write: each of `numbers` is made when it is due, and ids come again after `ids` of them."""

    make: Callable[[int], Made]
    numbers: Iterator[int]
    ids: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A product that the server has acknowledged at the instant `at`."""

    made: Made
    at: float


class Writing:
    """The acknowledgements of one stream: seconds from the instant at which each was due, and errors."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self.errors: list[str] = []
        self._waiting: list[asyncio.Future[Acknowledged]] = []

    async def next(self) -> Acknowledged:
        """The product that is acknowledged next."""
        future: asyncio.Future[Acknowledged] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return await future

    def note(self, acknowledged: Acknowledged, due: float) -> None:
        """Adds an acknowledgement of a product that was due at `due`."""
        self.waits_s.append(acknowledged.at - due)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(acknowledged)


@dataclass(slots=True)
class Churn:
    """Makes products by their numbers. No number is used twice, so that each product has a different title."""

    seeds: Seeds
    embedder: str
    products: int
    _ready: Iterator[int] = field(default_factory=count)
    _pictured: Iterator[int] = field(default_factory=count)

    def ready_products(self) -> Products:
        """The products with ready embeddings, from the first that was not written."""
        return Products(self.ready, self._ready, self.products)

    def pictured_products(self) -> Products:
        """The products with images, from the first that was not written."""
        return Products(self.pictured, self._pictured, len(self.seeds.all))

    def ready(self, number: int) -> Made:
        """A product of the catalog again, with another vector that is already embedded."""
        place = number % self.products
        vector = self.seeds.copy(place, number + 1)
        image = ProductImage(Embedding(self.embedder, vector.tolist()), link=f"{number}.jpg")
        return Made(number, place, CatalogProduct(name_of(place), [image], title=title_of(number)))

    def pictured(self, number: int) -> Made:
        """A product of a second set, as large as the set of images, with an image to embed."""
        image = ProductImage(self.seeds.of(number).image, link=f"{number}.jpg")
        name = f"pictured-{number % len(self.seeds.all)}"
        return Made(number, number, CatalogProduct(name, [image], title=title_of(number)))


def title_of(number: int) -> str:
    """The title of the product that was written as number `number`."""
    return f"written {number}"


def number_of(title: str) -> int:
    """The number of a written product; -1 for one that was built."""
    word, _, number = title.partition(" ")
    return int(number) if word == "written" else -1


async def write(client: AsyncCatalogClient, products: Products, rate: float, seconds: float, writing: Writing) -> None:
    """Writes `products`, `rate` a second, for `seconds`.

    A stream takes an id once, so that there is a new stream after as many products as there are ids; the last one is
    not waited for. Each has its own numbers, so that one that is late has no id of the next one.
    """
    began, total = time.monotonic(), round(rate * seconds)
    async with asyncio.TaskGroup() as streams:
        for first in range(0, total, products.ids):
            dues = [began + place / rate for place in range(first, min(first + products.ids, total))]
            due = dict(zip(islice(products.numbers, len(dues)), dues, strict=True))
            streams.create_task(write_stream(client, products.make, due, writing))


async def write_stream(
    client: AsyncCatalogClient, make: Callable[[int], Made], due: Mapping[int, float], writing: Writing
) -> None:
    """Writes the product of each number in `due` at its instant of the monotonic clock, in one stream."""
    sent: list[Made] = []
    await until(min(due.values()))

    async def products() -> AsyncIterator[CatalogProduct]:
        for number, at in due.items():
            await until(at)
            sent.append(make(number))
            yield sent[-1].product

    async for status in client.upsert(NAME, products()):
        if status.error is None:
            made = sent[status.index]
            writing.note(Acknowledged(made, time.monotonic()), due[made.number])
        else:
            writing.errors.append(str(status.error))


async def until(at: float) -> None:
    """Waits until an instant of the monotonic clock."""
    if (left_s := at - time.monotonic()) > 0:
        await asyncio.sleep(left_s)
