"""A server that serves, as the command that runs it needs it: of one process or of several workers."""

from collections.abc import Callable
from dataclasses import dataclass

from sightline_server.control.protocol import Reload


@dataclass(frozen=True, slots=True)
class Running:
    """The addresses of a server that serves, and how it reads its files again."""

    address: str
    metrics_address: str
    reload: Callable[[], object]
    """Begins to read again what can be read while the server serves: the TLS files and the catalogs."""
    reload_catalogs: Reload
    """Opens catalogs again and reports on each."""
