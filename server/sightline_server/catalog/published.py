"""The seam between the writer of a catalog and what is searched while it writes.

    log (on the disk) -> published.apply (in every later search) -> receipt
Rule: durable first, then visible, then acknowledged. The store calls from one thread at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sightline_server.catalog.generations import Generation
from sightline_server.catalog.operations import Operation
from sightline_server.catalog.revisions import Revision


class Published(Protocol):
    """A view of the catalog in memory that follows each write of its store.

    A method that raises has changed nothing. The store reports the error to its caller and calls again with the same
    values before its next step, so nothing that is on the disk is left out.
    """

    def apply(self, operations: Sequence[Operation]) -> None:
        """Shows `operations`, which are on the disk, in every search that begins after this returns."""

    def checkpointed(self, revision: Revision) -> None:
        """All operations up to that of `revision`, which is now the current one, are in it. The content is the same."""

    def replaced(self, revision: Revision) -> None:
        """The content as a whole is now that of `revision`: a rollback, also one to another generation."""

    def require(self, generation: Generation) -> None:
        """Raises `SightlineError` where content of another `generation` cannot be shown; asked before a rollback."""

    def preparing(self, revision: Revision) -> AbstractContextManager[bool]:
        """A block in which a rollback to `revision` is made, which is kept; it does not raise at its beginning.

        What that needs may be made ready now, and is dropped at the end of the block if it was not needed. The value
        says whether every row of the revision was read meanwhile and is as it was written.
        """


class Unpublished:
    """`Published` for a catalog that is not searched by this process: nothing is done."""

    def apply(self, operations: Sequence[Operation]) -> None:
        """See `Published`."""

    def checkpointed(self, revision: Revision) -> None:
        """See `Published`."""

    def replaced(self, revision: Revision) -> None:
        """See `Published`."""

    def require(self, generation: Generation) -> None:
        """See `Published`."""

    @contextmanager
    def preparing(self, revision: Revision) -> Iterator[bool]:
        """See `Published`."""
        yield False
