"""Several requests in one transaction: each of them as a whole, or its own error.

Rule: a request sees those before it in the group. One that fails leaves nothing, and the others are as if it had never
been there. A request whose id was written before, in the group or earlier, is not written again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sightline_server.catalog.operations import Write, fingerprint
from sightline_server.catalog.pending import Pending
from sightline_server.domain.revisions import Receipt
from sightline_server.domain.writes import STALE
from sightline_server.errors import ErrorKind, SightlineError

Outcome = Receipt | SightlineError
"""The result of a request."""


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Writes that belong together. `mark` stands for their content where `request_id` is set; empty: a digest of them.

    `etags` has the etag that a row must have, by id. With `dry_run` everything is checked and nothing is written.
    """

    writes: Sequence[Write]
    request_id: str = ""
    mark: bytes = b""
    etags: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request id with what the log remembers of it."""

    request_id: str
    mark: bytes
    seqs: tuple[int, ...]


KnownRequest = Callable[[str, bytes], tuple[int, ...] | None]
"""The sequence numbers of a request id that was written before; raises `SightlineError` for another mark."""


class Group:
    """The requests of one transaction, as `pending` takes them one after the other."""

    def __init__(self, pending: Pending, known: KnownRequest) -> None:
        self.pending = pending
        self.requests: dict[str, NewRequest] = {}
        self._known = known

    def add(self, request: WriteRequest) -> Outcome:
        """The outcome of `request` once the group is written."""
        before = self.pending.state()
        try:
            receipt = self._receipt(request)
        except SightlineError as error:
            self.pending.revert(before)
            return error
        if request.dry_run:
            self.pending.revert(before)
        return receipt

    def _receipt(self, request: WriteRequest) -> Receipt:
        request_id = "" if request.dry_run else request.request_id
        mark = (request.mark or fingerprint(request.writes)) if request_id else b""
        if request_id and (seqs := self._seqs_of(request_id, mark)) is not None:
            return Receipt(seqs, repeated=True)
        seqs = tuple(self._seq(write, request.etags) for write in request.writes)
        if request_id:
            self.requests[request_id] = NewRequest(request_id, mark, seqs)
        return Receipt(seqs)

    def _seqs_of(self, request_id: str, mark: bytes) -> tuple[int, ...] | None:
        here = self.requests.get(request_id)
        if here is None:
            return self._known(request_id, mark)
        if here.mark != mark:
            raise other_content()
        return here.seqs

    def _seq(self, write: Write, etags: Mapping[str, str]) -> int:
        wanted = etags.get(write.id, "")
        if wanted and self.pending.etag(write.id) != wanted:
            return STALE
        return self.pending.add(write)


def other_content() -> SightlineError:
    """The error of a request id that stands for something else already."""
    message = "request_id: it was used before for other content; choose a new request id"
    return SightlineError(ErrorKind.INVALID_REQUEST, message, field="request_id")
