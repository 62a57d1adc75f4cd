"""A catalog of a running server, as the commands of `sightline catalog` see it.

Rule: values and a Protocol only. The server's commands use it and the client implements it, because neither may import
the other.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Reach:
    """The address of a server, and the options of the connection."""

    target: str
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    token_file: Path | None = None
    """File with an API key or a bearer token."""


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """An image of a product: its encoded bytes, or a ready embedding."""

    link: str
    data: bytes = field(default=b"", repr=False)
    embedder: str = ""
    values: Sequence[float] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class RemoteProduct:
    """A product to write; `texts` has the texts of its fields by their names, `price` amount and currency."""

    id: str
    texts: Mapping[str, str]
    price: tuple[Decimal, str] | None
    attributes: Mapping[str, str]
    images: Sequence[RemoteImage] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoteUpdate:
    """New values of a product; what is not named stays."""

    id: str
    texts: Mapping[str, str]
    price: tuple[Decimal, str] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one product: `fault` is empty when it was written, `reason` the machine-readable reason."""

    fault: str = ""
    reason: str = ""
    missing: bool = False
    """There is no such product."""


@dataclass(frozen=True, slots=True)
class RemoteRevision:
    """A revision as the server lists it."""

    number: int
    name: str
    digest: str
    kind: str
    created_at: str
    products: int
    images: int
    note: str
    creator: str
    available: bool
    generation: int = 0


@dataclass(frozen=True, slots=True)
class RemoteState:
    """The content of a catalog now; `pending` counts the writes that are not yet in a revision."""

    revision: str
    products: int
    pending: int


@dataclass(frozen=True, slots=True)
class RemoteReembedding:
    """A revision that a server has prepared: its name, its number, and what is in it."""

    revision: str
    number: int
    products: int
    images: int
    reused: int
    left_out: int


@dataclass(frozen=True, slots=True)
class ReembedProgress:
    """Receives the progress of a reembedding: products done, of how many, and each problem once, as a line."""

    products: Callable[[int, int], None]
    problem: Callable[[str], None]


class RemoteError(Exception):
    """A call that failed, in one line; `wrong_usage` says that what was asked for is wrong."""

    def __init__(self, message: str, *, wrong_usage: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.wrong_usage = wrong_usage


class RemoteCatalog(Protocol):
    """One catalog of a running server. Every method raises `RemoteError`."""

    def upsert(self, products: Generator[RemoteProduct, None, None]) -> Iterator[Outcome]:
        """Adds or replaces products; one outcome for each, in order. What `products` raises is passed on.

        `products` run in another thread, which closes them.
        """

    def update(self, updates: Sequence[RemoteUpdate]) -> Sequence[Outcome]:
        """Changes fields of products."""

    def delete(self, ids: Sequence[str]) -> Sequence[Outcome]:
        """Deletes products."""

    def revisions(self) -> Iterator[RemoteRevision]:
        """The revisions, the newest first."""

    def activate(self, number: int) -> RemoteRevision:
        """Makes the content equal to that of an earlier revision."""

    def reembed(
        self, embedder: str, *, skip_missing: bool, max_lost_percent: int, progress: ReembedProgress
    ) -> RemoteReembedding:
        """Has the server prepare a revision embedded by another embedder. An exception in between cancels that."""

    def state(self) -> RemoteState:
        """The content of the catalog now."""


Connect: TypeAlias = Callable[[Reach, str], AbstractContextManager[RemoteCatalog]]
"""Reaches the catalog of a name. Raises `RemoteError`."""
