"""The gRPC server: its options and its address.

Rule: a taken port is an error that names it (`so_reuseport` is off: two servers would share the port silently;
workers share one, which their parent has taken for them), and a port that others can reach needs TLS or `--insecure`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc

from sightline_server.domain.address import Address
from sightline_server.rpc.edge import Service
from sightline_server.rpc.grpc_log import without_noise_of_callers
from sightline_server.rpc.guard import Guarded
from sightline_server.rpc.listener.exposure import check_listener
from sightline_server.rpc.listener.listening import listening_on
from sightline_server.rpc.listener.protection import protection
from sightline_server.rpc.listener.tls import Certificates, open_certificates
from sightline_server.rpc.reflection import add_reflection
from sightline_server.rpc.unknown_methods import registered_methods_only
from sightline_server.settings import LimitSettings, ServerSettings
from sightline_server.telemetry.metrics import Metrics


def build(
    services: Sequence[Service], server: ServerSettings, limits: LimitSettings, metrics: Metrics
) -> grpc.aio.Server:
    """The server with `services` and reflection, not yet listening."""
    without_noise_of_callers()
    with registered_methods_only():
        built = grpc.aio.server(options=options(server, limits))
    for service in services:
        # Registered methods queue each on its own: a flood of one does not delay the others.
        built.add_registered_method_handlers(service.name, dict(service.handlers()))
    add_reflection([service.name for service in services], Guarded(built, metrics))
    return built


def options(server: ServerSettings, limits: LimitSettings) -> list[tuple[str, int]]:
    """The channel arguments of the server."""
    return [
        ("grpc.so_reuseport", int(server.workers > 1)),
        *protection(server, limits),
        # Between the two limits gRPC refuses calls at random; equal, they are one.
        ("grpc.max_metadata_size", server.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", server.max_metadata_bytes),
        # Balancers on layer 4 never move a connection; ending it now and then does.
        ("grpc.max_connection_age_ms", int(server.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", int(server.max_connection_age_grace_s * 1000)),
        # Clients may ping as often as every 10 s to notice a dead path.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


@contextmanager
def listening(
    built: grpc.aio.Server, settings: ServerSettings, certificates: Certificates | None = None
) -> Iterator[Address]:
    """Listens on `listen` for the length of the block; gives the address with the port that was given for port 0.

    Without `certificates`, those of the settings are opened. Raises `SightlineError` of kind CONFIGURATION. Stop the
    server before the block ends.
    """
    credentials = allowed_credentials(settings, certificates)

    def add_port(target: str) -> int:
        if credentials is None:
            return built.add_insecure_port(target)
        return built.add_secure_port(target, credentials)

    with listening_on(settings.listen, add_port) as address:
        yield address


def allowed_credentials(
    settings: ServerSettings, certificates: Certificates | None = None
) -> grpc.ServerCredentials | None:
    """TLS of the settings' files, None without them; `certificates` are those files where they are open already.

    Raises `SightlineError`, also where others could reach the port without TLS.
    """
    check_listener(settings)
    certificates = certificates or open_certificates(settings)
    return None if certificates is None else certificates.credentials()
