"""Listeners that other machines can reach without encryption: refused unless their settings allow it.

Rule: checked before anything listens, by `serve` and by `doctor` in the same way. Only this machine reaches loopback
addresses and Unix sockets, which need nothing.
"""

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import ServerSettings


def check_listener(settings: ServerSettings, name: str = "server.listen") -> None:
    """Raises `SightlineError` of kind CONFIGURATION for a `listen` that others reach without TLS unasked.

    `name` is the setting that the address is from.
    """
    tls = settings.tls_cert is not None or settings.tls_key is not None
    if not (tls or settings.insecure or settings.listen.is_loopback):
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"{name} {settings.listen} can be reached by other machines, and images would be sent to it without "
            "encryption: set server.tls_cert and server.tls_key (--tls-cert, --tls-key). Where something in front of "
            "it encrypts, set server.insecure = true (--insecure). Names other than localhost count as another machine",
        )


def check_metrics_listener(settings: ServerSettings) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for a `metrics_listen` that others reach unasked."""
    if not (settings.metrics_insecure or settings.metrics_listen.is_loopback):
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"server.metrics_listen {settings.metrics_listen} can be read by other machines: metrics have neither "
            f"encryption nor a login. Listen on 127.0.0.1:{settings.metrics_listen.port}, or, where a firewall or a "
            "network policy lets nobody but Prometheus in, set server.metrics_insecure = true (--metrics-insecure)",
        )
