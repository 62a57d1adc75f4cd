"""The products of recent answers, kept until no call can still show them.

Rule: two generations. What is read goes into the new one; when that is as old as the longest call, the old one is
dropped and the new one becomes the old one, so an entry lives at least that long and at most twice.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError

ValueT = TypeVar("ValueT")
KEPT_S = 600.0


class Generation:
    """Products by row, and by image its link and the row of its product."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.products: dict[int, Product] = {}
        self.images: dict[int, tuple[str, int]] = {}


class ShownProducts:
    """Any thread may use it."""

    def __init__(self, kept_s: float = KEPT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_s, self._clock = kept_s, clock
        self._lock = threading.Lock()
        self._new = self._old = Generation(clock())

    def missing(self, images: Iterable[int]) -> list[int]:
        """Those of `images` that are not kept. The others stay for the time of another call."""
        with self._lock:
            self._turn()
            missing = []
            for image in images:
                if image in self._new.images:
                    continue
                if image in self._old.images:
                    self._new.images[image] = self._old.images[image]
                    row = self._old.images[image][1]
                    self._new.products[row] = self._old.products[row]
                else:
                    missing.append(image)
            return missing

    def keep(self, image: int, link: str, row: int, product: Product) -> None:
        """Keeps an image and its product."""
        with self._lock:
            self._new.images[image] = link, row
            self._new.products[row] = product

    def products(self, rows: Sequence[int]) -> list[Product]:
        """The products of `rows`. Raises `SightlineError` of kind INDEX_UNAVAILABLE for one that is not kept."""
        with self._lock:
            return [self._found(row, self._new.products, self._old.products) for row in rows]

    def links(self, images: Sequence[int]) -> list[str]:
        """The links of `images`. Raises as `products`."""
        with self._lock:
            return [self._found(image, self._new.images, self._old.images)[0] for image in images]

    def _turn(self) -> None:
        now = self._clock()
        if now - self._new.began >= self._kept_s:
            self._old, self._new = self._new, Generation(now)

    @staticmethod
    def _found(key: int, new: dict[int, ValueT], old: dict[int, ValueT]) -> ValueT:
        value = new.get(key) or old.get(key)
        if value is None:
            message = "the answer took longer than its products are kept; send the request again"
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=0.0)
        return value
