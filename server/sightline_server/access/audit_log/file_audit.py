"""The audit that is a log on the disk.

Rule: each call waits until its own records are on the disk, and no other call waits for them. Where they cannot be
written the call is refused, unless the log is optional. Denials are also in the server's log.
"""

import asyncio
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sightline_server.access.audit import AuditRecord, LogAudit
from sightline_server.access.audit_log.chain_writer import USUAL, Rotation
from sightline_server.access.audit_log.flood import Flood
from sightline_server.access.audit_log.folder import open_chain
from sightline_server.access.audit_log.group_commit import AuditObserver, GroupCommit, Unobserved
from sightline_server.access.audit_log.records import decision, summary
from sightline_server.errors import SightlineError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditLogOptions:
    """The folder of a log. `key_file` has its first key; without it one is made at the first start.

    With `required`, calls whose records cannot be written are refused.
    """

    folder: Path
    key_file: Path | None = None
    rotation: Rotation = USUAL
    required: bool = True


class FileAudit:
    """Satisfies `DurableAudit`, from its start to `close`. The start raises `SightlineError` of kind CONFIGURATION."""

    def __init__(
        self,
        options: AuditLogOptions,
        observer: AuditObserver = Unobserved(),  # noqa: B008 (it has no state)
        now: Callable[[], float] = time.time,
    ) -> None:
        self._chain, self._lock = open_chain(options.folder, options.key_file, options.rotation, now)
        self._required = options.required
        self._now = now
        self._log = LogAudit()
        self._flood = Flood(now)
        self._pending: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._commit = GroupCommit(self._chain.append, observer)
        self._commit.start()
        if not options.required:
            log.warning("audit: audit.on_failure is `allow`: calls go on without a record where none can be written")

    def record(self, record: AuditRecord) -> None:
        """See `Audit`."""
        self._log.record(record)
        self._summarise(all_now=False)
        if not self._flood.holds(record):
            self._pending[record.request_id].append(self._commit.submit(decision(record, self._now())))

    async def durable(self, request_id: str) -> None:
        """See `DurableAudit`. Raises `SightlineError` of kind AUDIT_UNAVAILABLE."""
        futures = self._pending.pop(request_id, None)
        if not futures:
            return
        try:
            await asyncio.gather(*futures)
        except SightlineError:
            if self._required:
                raise

    def forget(self, request_id: str) -> None:
        """See `DurableAudit`."""
        for future in self._pending.pop(request_id, ()):
            future.cancel()

    def close(self) -> None:
        """Writes what waits, and frees the chain for another process. Blocks."""
        self._summarise(all_now=True)
        self._commit.close()
        self._chain.close()
        os.close(self._lock)

    def _summarise(self, *, all_now: bool) -> None:
        for repeated, count in self._flood.due(all_now=all_now):
            self._commit.add(summary(repeated, count, self._now()))
