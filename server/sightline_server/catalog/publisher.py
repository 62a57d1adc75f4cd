"""The steps of the store that the searched view does not show yet.

Rule: in the order in which it was written, and until it has succeeded: a step that could not be published is published
before the next one is written.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import takewhile

from sightline_server.catalog.generations import Generation
from sightline_server.catalog.operations import Operation
from sightline_server.catalog.published import Published, Unpublished
from sightline_server.catalog.revisions import Revision, RevisionKind
from sightline_server.errors import ErrorKind, SightlineError

REPLACING = (RevisionKind.ROLLBACK, RevisionKind.ADAPTED)
"""Kinds of revisions after which something else is searched than was served and written."""


class Publisher:
    """Brings operations and revisions to `published`."""

    def __init__(self, published: Published | None) -> None:
        self._published: Published = published or Unpublished()
        self._owed: list[Operation] = []
        self._number = self._seq = 0

    def begin(self, current: Revision, seq: int) -> None:
        """Notes the revision and the last sequence number that a view has when it is opened."""
        self._number, self._seq = current.number, seq

    def add(self, operations: Iterable[Operation]) -> None:
        """Notes operations that are on the disk; `publish` shows those of them that are new."""
        new = [each for each in operations if each.seq > self._seq]
        self._owed += new
        self._seq = new[-1].seq if new else self._seq

    def require(self, generation: Generation) -> None:
        """Raises `SightlineError` where the view cannot show the content of another generation."""
        self._published.require(generation)

    def preparing(self, revision: Revision) -> AbstractContextManager[bool]:
        """A block for a rollback to `revision`; says whether its rows were read and are intact."""
        return self._published.preparing(revision)

    def publish(self, revisions: Sequence[Revision]) -> None:
        """Shows what is owed: the operations, then the newest of `revisions`, which begin with it.

        Raises `SightlineError` of kind INDEX_UNAVAILABLE; everything is still owed then.
        """
        after = takewhile(lambda each: each.number > self._number, revisions)
        newer = [each for each in after if each.kind is not RevisionKind.PREPARED]
        try:
            self._publish(newer)
        except Exception as error:  # a view meets whatever its memory and its vector library do
            raise unpublished(error) from error
        self._number = revisions[0].number

    def _publish(self, newer: Sequence[Revision]) -> None:
        rolled_back = any(each.kind in REPLACING for each in newer)
        if rolled_back:
            self._published.replaced(newer[0])
            self._owed = [each for each in self._owed if each.seq > newer[0].seq]
        if self._owed:
            self._published.apply(tuple(self._owed))
            self._owed.clear()
        if newer and not rolled_back:
            self._published.checkpointed(newer[0])


def unpublished(error: Exception) -> SightlineError:
    """The error of a step that is on the disk and that no search shows yet."""
    message = (
        f"it is on the disk, and cannot be searched yet ({type(error).__name__}); this is tried again before the next "
        "write. Send the same request with the same request id again"
    )
    return SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=1.0)
