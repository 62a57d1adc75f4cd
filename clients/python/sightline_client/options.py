"""How a client reaches the server and how patient it is.

Rule: frozen values, read once when the client is made; nothing here is read from the environment.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from sightline_client.errors import ConfigurationError
from sightline_client.target import grpc_target, proxy_option

DEFAULT_TARGET = "127.0.0.1:50051"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS towards the server: PEM files. Without `root_ca` the system's roots count; a client certificate is mTLS."""

    root_ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files. Raises `ConfigurationError` that names the one at fault."""
        if (self.client_cert is None) != (self.client_key is None):
            raise ConfigurationError("a client certificate and its key go together: one of them is missing")
        return grpc.ssl_channel_credentials(_pem(self.root_ca), _pem(self.client_key), _pem(self.client_cert))


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """When a call that was refused with UNAVAILABLE, before its first event, is made again.

    `attempts` counts the first one; 1 means never again. The delay doubles from `first_delay_s` to `max_delay_s`, with
    jitter, and is never below what the server asks for.
    """

    attempts: int = 3
    first_delay_s: float = 0.1
    max_delay_s: float = 2.0


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Everything about a client; `target` is HOST:PORT, unix:PATH or any gRPC target."""

    target: str = DEFAULT_TARGET
    tls: TlsOptions | None = None
    """None sends in the clear, which fits loopback and meshes that encrypt."""
    timeout_s: float = 10.0
    """Deadline of a search that names none, retries included."""
    max_photo_bytes: int = 20 * MIB
    """Larger photos are refused before anything is sent."""
    max_answer_bytes: int = 16 * MIB
    """Largest single event that is taken."""
    channels: int = 1
    """Connections, over which calls go in turn. A server with workers spreads connections over them, not calls."""
    retry: RetryOptions = field(default_factory=RetryOptions)

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or min(self.retry.attempts, self.max_photo_bytes, self.channels) < 1:
            raise ConfigurationError("timeout_s, retry.attempts, max_photo_bytes and channels must be positive")
        grpc_target(self.target, tls=self.tls is not None)

    def channel_arguments(self) -> list[tuple[str, str | int]]:
        """What the gRPC channel is made with.

        Retries are ours, because gRPC's own do not read RetryInfo; so its service config has none, and none from DNS.
        There is no hedging: gRPC for Python accepts the setting and does nothing.
        """
        return [
            ("grpc.max_send_message_length", self.max_photo_bytes + MIB),
            ("grpc.max_receive_message_length", self.max_answer_bytes),
            ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}]}]})),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            ("grpc.keepalive_time_ms", 300_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # Without a pool of its own each, gRPC makes one connection of all channels to one target.
            ("grpc.use_local_subchannel_pool", int(self.channels > 1)),
            proxy_option(self.target),
        ]


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
