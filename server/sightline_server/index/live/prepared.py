"""The base of a revision, built before the rollback to it is written.

Rule: building reads every row and compares the digest, which the rollback needs before it writes anything; so the rows
are read once instead of twice, and what is searched changes as soon as the rollback is on the disk.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline_server.catalog.revisions import Revision
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.going_back import changes_few
from sightline_server.index.snapshot import CatalogSnapshot, moment_of

log = logging.getLogger(__name__)


class PreparedBase:
    """At most one base of the catalog at `path`; for the thread of its store. `build` builds that of a revision."""

    def __init__(self, path: Path, name: str, device: DeviceThread, build: Callable[[int], CatalogSnapshot]) -> None:
        self._path, self._name, self._device = path, name, device
        self._build = build
        self._base: CatalogSnapshot | None = None
        self._idle = threading.Event()
        self._idle.set()

    def wait(self) -> None:
        """Waits until no rollback is prepared, and the one that was is made; any other thread may call it."""
        self._idle.wait()

    @contextmanager
    def preparing(self, revision: Revision, most: int) -> Iterator[bool]:
        """See `Published`; nothing is built where a rollback changes at most `most` products."""
        self._idle.clear()
        try:
            self._base = self._built(revision, most)
            yield self._base is not None
        finally:
            self._idle.set()
            unused, self._base = self._base, None
            if unused is not None:
                self._device.call(unused.index.close)

    def take(self, revision: Revision) -> CatalogSnapshot | None:
        """The base, for its caller to keep, where it has the content of `revision`."""
        base = self._base
        if base is None or not has_content(base, revision):
            return None
        self._base = None
        return base

    def _built(self, revision: Revision, most: int) -> CatalogSnapshot | None:
        """The base of `revision`; None where none is needed, and where it cannot be built."""
        try:
            if not revision.rows or changes_few(self._path, revision, most):
                return None
            return self._build(revision.number)
        except Exception as error:  # whatever files and memory meet: the rollback goes on without, and meets it again
            log.warning("catalog %s: a rollback could not be prepared (%s)", self._name, type(error).__name__)
            return None


def has_content(base: CatalogSnapshot, revision: Revision) -> bool:
    """Returns whether `base` has the rows of `revision`, and its adapter."""
    found = moment_of(base).revision
    return (found.generation, found.digest, found.adapter) == (revision.generation, revision.digest, revision.adapter)
