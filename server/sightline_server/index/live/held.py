"""The content of a view as a catalog in memory: what a merge builds its base of.

    living slots of the view -> their newest rows, from the base or as they were written -> columns in one piece
Rule: nothing is read from the disk and nothing is converted, so a product has the same similarities before and after a
merge. What is searched is not changed; the vectors of the base are copied by the thread that owns them, some at a time,
so that a search waits for one part at most. `pause` is called before each part, so that searches may go first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.revisions import Revision
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FlatIndex
from sightline_server.index.held_content import HeldContent, without_pause
from sightline_server.index.live.state import LiveState
from sightline_server.index.live.view import LiveView
from sightline_server.index.opened_catalog import Catalog, Moment, display_table
from sightline_server.index.pages import array_in_pages
from sightline_server.index.schema import DISPLAY_COLUMNS, PRICE_COLUMNS

PART_ROWS = 1024
"""Vectors that are copied at once: 5 MB of 1,280 numbers, about 1 ms."""
PART_LIGHTS = 512
"""Rows of Arrow that are put together at once, about 5 ms."""


def is_held(view: LiveView) -> bool:
    """Returns whether the vectors of the base can be copied as they are searched, and need no adapter."""
    return isinstance(view.state.base.index, FlatIndex) and view.state.base.adapter is None


def selects_of(view: LiveView | None) -> bool | None:
    """True where the exact index of `view` was seen to apply selectors; None where the next index is to be asked."""
    if view is None or not view.state.base_images or not isinstance(view.state.base.index, FlatIndex):
        return None
    # The probe of an index says no as well when memory was short.
    return view.state.base.selects or None


def held_content(
    path: Path,
    view: LiveView,
    revision: Revision,
    device: DeviceThread,
    pause: Callable[[], None] = without_pause,
) -> HeldContent:
    """The content of `view`, which is on top of `revision`, of the catalog at `path`.

    Any thread may call it but that of `device` and, where `pause` waits, that of searches.
    """
    state, extent = view.state, view.extent
    base = state.base
    died = state.died.values
    slots = np.flatnonzero(died[: extent.slots] > extent.number)
    owners = state.owners.values[: extent.vectors]
    images = np.flatnonzero(died[owners] > extent.number)
    places = np.zeros(extent.slots, np.int32)
    places[slots] = np.arange(len(slots), dtype=np.int32)
    display, prices = columns_of(state, state.rows_at(slots, extent.number), pause)
    pause()
    facts = replace(
        base.facts,
        products=len(slots),
        vectors=len(images),
        max_images=int(state.counts.values[slots].max(initial=0)),
        content_sha256="",  # of rows that are read
        built_at=view.built_at,
    )
    catalog = Catalog(
        path=path,
        revision=view.revision,
        facts=facts,
        display=display,
        prices=prices,
        image_links=links_of(state, images),
        owners=places[owners[images]],
        vectors=np.empty((0, base.dimension), np.float16),
        content=Moment(revision, extent.seq),
    )
    vectors = LivingVectors(state, images, device, pause)
    return HeldContent(catalog, vectors, pause)


def columns_of(
    state: LiveState, rows: NDArray[np.int64], pause: Callable[[], None] = without_pause
) -> tuple[pa.Table, pa.Table]:
    """The display columns and the prices of `rows` of the state, in this order."""
    written = np.flatnonzero(rows >= state.base_products)
    stored = np.flatnonzero(rows < state.base_products)
    taken = pa.array(rows[stored])
    displays = [pa.Table.from_batches([state.base.table.display.take(taken)])]
    prices = [state.base.prices.take(taken)]
    if len(written):
        lights = [state.lights[row] for row in (rows[written] - state.base_products).tolist()]
        light = in_one_piece(lights, pause)
        displays.append(display_table([light.select(list(DISPLAY_COLUMNS))]))
        prices.append(pa.Table.from_batches([light.select(list(PRICE_COLUMNS))]))
    order = pa.array(np.argsort(np.concatenate([stored, written])))
    return in_order(displays, order), in_order(prices, order)


def in_one_piece(rows: Sequence[pa.RecordBatch], pause: Callable[[], None]) -> pa.RecordBatch:
    """The batches `rows` as one."""
    parts = []
    for start in range(0, len(rows), PART_LIGHTS):
        pause()
        parts.append(pa.concat_batches(rows[start : start + PART_LIGHTS]))
    return pa.concat_batches(parts)


def in_order(tables: list[pa.Table], order: pa.Array) -> pa.Table:
    """The rows of all `tables` in one piece, row `order[n]` as row n."""
    schema = tables[0].schema.remove_metadata()
    return pa.concat_tables([table.cast(schema) for table in tables]).combine_chunks().take(order)


def links_of(state: LiveState, images: NDArray[np.int64]) -> pa.Array:
    """The links of `images` of the state, ascending."""
    stored, written = images[images < state.base_images], images[images >= state.base_images] - state.base_images
    links = state.base.links.take(pa.array(stored)).cast(pa.large_string())
    return pa.concat_arrays([links, pa.array([state.links[place] for place in written.tolist()], pa.large_string())])


class LivingVectors:
    """`vectors.UnitRows`: the vectors `images` [V], ascending, of `state`; not for the thread of `device`."""

    def __init__(
        self,
        state: LiveState,
        images: NDArray[np.int64],
        device: DeviceThread,
        pause: Callable[[], None] = without_pause,
    ) -> None:
        self._index = state.base.index
        self._first = state.base_images
        self._written = state.vectors.values
        self._images = images
        self._device = device
        self._pause = pause
        self.shape = (len(images), state.base.dimension)
        self.size = len(images) * state.base.dimension

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """See `vectors.UnitRows`. Raises whatever the index raises once it is closed."""
        images = self._images[rows]
        found = array_in_pages((*images.shape, self.shape[1]), np.float32)
        flat = found.reshape(-1, self.shape[1])
        for start, part in parts(images.reshape(-1)):
            self._pause()
            self._copy(part, flat[start : start + len(part)])
        return found

    def _copy(self, images: NDArray[np.int64], into: NDArray[np.float32]) -> None:
        stored = images < self._first
        count = int(np.count_nonzero(stored))
        if not stored[:count].all():  # rows in any order, which the self-check asks for: stored ones first
            order = np.argsort(~stored, kind="stable")
            ordered = np.empty_like(into)
            self._copy(images[order], ordered)
            into[order] = ordered
            return
        if count:
            assert isinstance(self._index, FlatIndex)
            self._device.call(partial(self._index.copies, images[:count], into[:count]))
        # With "clip" numpy needs no buffer.
        np.take(self._written, images[count:] - self._first, axis=0, out=into[count:], mode="clip")


def parts(images: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """`images` [N] in parts, each with its first position."""
    for start in range(0, len(images), PART_ROWS):
        yield start, images[start : start + PART_ROWS]
