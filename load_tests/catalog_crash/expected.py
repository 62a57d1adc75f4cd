"""The states that groups may have after their writing process was ended, and those that a reader finds."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from load_tests.catalog_crash.rows import GROUP, SPEC, product_row
from sightline_server.index.catalog import open_catalog
from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.opened_catalog import Catalog

FOUND, SAME = 0.999, 0.01
"""The similarity of a vector with itself, and the largest difference of its numbers, as float16."""


@dataclass
class Expected:
    """The states that each slot, such as `w1-3`, may have: one that was acknowledged, or also one that was sent.

    A state is `title/brand`, or nothing when the group is deleted.
    """

    known: dict[str, str] = field(default_factory=dict)
    open: dict[str, list[str]] = field(default_factory=dict)

    def read(self, line: str) -> None:
        """Takes one line of the writing process."""
        word, *rest = line.split()
        if word not in ("sent", "done") or len(rest) != 4:
            return
        kind, writer, slot, value = rest
        name = f"w{writer}-{slot}"
        state = after(self.known.get(name, ""), kind, value)
        if word == "sent":
            self.open.setdefault(name, []).append(state)
        else:
            self.known[name] = state
            self.open.pop(name, None)

    def allowed(self, name: str) -> list[str]:
        """The states that slot `name` may have."""
        return [self.known.get(name, ""), *self.open.get(name, [])]


def after(state: str, kind: str, value: str) -> str:
    """The state of a group after a write."""
    if kind == "upsert":
        return f"{value}/"
    if kind == "delete" or not state:
        return ""
    return f"{state.partition('/')[0]}/{value}"


def found_states(catalog: Path) -> dict[str, set[str]]:
    """The states of the products of each slot; a slot that is whole has one state."""
    opened = open_catalog(catalog, SPEC)
    require_found(opened)
    states: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for place, row in enumerate(opened.display.to_pylist()):
        if not row["id"].startswith("w"):
            continue
        name = row["id"].rpartition("-")[0]
        vector = opened.vectors[opened.owners == place]
        same = np.array_equal(vector, product_row("x", int(row["title"])).embeddings.astype(np.float16))
        states.setdefault(name, set()).add(f"{row['title']}/{row['brand']}" if same else "torn")
        counts[name] = counts.get(name, 0) + 1
    return {name: found if counts[name] == GROUP else found | {"half"} for name, found in states.items()}


def require_found(catalog: Catalog) -> None:
    """Searches each vector. Raises `AssertionError` when one does not find its product first."""
    vectors = catalog.vectors.astype(np.float32)
    index = FaissIndex(catalog.vectors, use_gpu=False)
    similarities, rows = index.search(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    index.close()
    assert bool(np.all(similarities[:, 0] > FOUND)), "a vector does not find itself"
    assert bool(np.all(np.abs(vectors[rows[:, 0]] - vectors) < SAME)), "a vector finds another one"
