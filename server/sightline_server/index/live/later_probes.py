"""The probes of a base that a rollback brought, made by another thread once it is served.

Rule: they are not needed to search, and take as long as half of the rest of a rollback. They wait while the next
rollback is prepared, which they would slow down, and end with the base that they are of, and at a close.
"""

import logging
import threading
from collections.abc import Callable

from sightline_server.index.snapshot import CatalogSnapshot

log = logging.getLogger(__name__)
FAILED = "catalog %s: the probes of its live recall could not be made"


class SupersededError(Exception):
    """The base is served no longer."""


def make_later(base: CatalogSnapshot, pause: Callable[[], None], is_served: Callable[[], bool]) -> threading.Thread:
    """Begins to make the probes of `base`, in the thread that it returns; without them its recall is not measured.

    `pause` is called before each part of the work, and waits for whatever goes first. What fails is logged, also a
    thread that the system does not have: the base is served already.
    """

    def pause_or_stop() -> None:
        pause()
        if not is_served():
            raise SupersededError

    def make() -> None:
        try:
            base.make_probes(pause_or_stop)
        except SupersededError:
            pass
        except Exception:  # whatever memory meets
            log.exception(FAILED, base.name)

    thread = threading.Thread(target=make, name="catalog-probes", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        log.exception(FAILED, base.name)
    return thread
