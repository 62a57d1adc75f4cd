"""Making another adapter that of a catalog's content, as a new revision.

Rule: rows and vectors stay as they are, so nothing is embedded again, and the revision before is kept.
"""

import hashlib
from dataclasses import replace

from sightline_server.catalog.held import Held
from sightline_server.catalog.revisions import RevisionKind


def adapt(held: Held, adapter: bytes, seq: int, note: str) -> None:
    """Makes `adapter`, or none where it is empty, that of the current content.

    Every operation up to `seq` is in the current revision. Raises `SightlineError`; the catalog is as it was then.
    """
    current, opened = held.current, held.open
    assert current.base_version is not None
    with held.new_version():
        # Each revision has its own version of the base, which is removed with it.
        opened.base.restore(current.base_version)
        sha256 = hashlib.sha256(adapter).hexdigest() if adapter else ""
        adapted = replace(current, kind=RevisionKind.ADAPTED, adapter=sha256, note=note, seq=seq)
        held.record(adapted, opened, adapter)
