"""The options of a client: the way to the server, limits, deadlines and retries.

Rule: frozen values, read once when the client is made; nothing here is read from the environment.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from sightline_client import credentials, limits, tls, values
from sightline_client.errors import ConfigurationError
from sightline_client.target import authority_option, check_plaintext, grpc_target, proxy_option

DEFAULT_TARGET = "127.0.0.1:50051"
MIB = 1024 * 1024
MAX_BYTES = 2**31 - 1 - 2 * MIB
"""Largest limit in bytes: gRPC counts in 32 bits, and a request has room for more than its photo."""
MAX_CHANNELS = 1024
WAYS_OUT = (
    "use ClientOptions(target, tls=TlsOptions()), or ClientOptions(target, insecure=True) where something else "
    "encrypts the connection"
)
"""Ways out of a connection that would not be encrypted, for a program."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS towards the server: PEM files. Without `root_ca` the system's roots count; a client certificate is mTLS."""

    root_ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads and checks the files. Raises `ConfigurationError` that names the one at fault."""
        return tls.credentials(self.root_ca, self.client_cert, self.client_key)


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """Policy for repeating a call that was refused with UNAVAILABLE before its first event.

    `attempts` counts the first one; 1 means never again. The delay doubles from `first_delay_s` to `max_delay_s`, with
    jitter, and is never below what the server asks for. Raises `ConfigurationError` for numbers out of range.
    """

    attempts: int = 3
    first_delay_s: float = 0.1
    max_delay_s: float = 2.0

    def __post_init__(self) -> None:
        _check("retry.attempts", lambda value: values.integer(value, 1, values.INT32_MAX), self.attempts)
        _check("retry.first_delay_s", values.delay, self.first_delay_s)
        _check("retry.max_delay_s", values.delay, self.max_delay_s)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Everything about a client; `target` is HOST:PORT, unix:PATH or any gRPC target.

    Raises `ConfigurationError` for a value of the wrong type or out of range, and for a target on another machine with
    neither `tls` nor `insecure`.
    """

    target: str = DEFAULT_TARGET
    tls: TlsOptions | None = None
    """None sends without encryption, which a target on another machine allows only with `insecure`."""
    insecure: bool = field(default=False, kw_only=True)
    """Allows a target on another machine without `tls`, where something else encrypts; it weakens no TLS."""
    token: credentials.Token | None = field(default=None, kw_only=True, repr=False)
    """API key or bearer token of the caller, or a function that returns it for each call; see `credentials`."""
    timeout_s: float = 10.0
    """Deadline of a search that names none, retries included; `math.inf` sets none, then the server sets its own."""
    max_photo_bytes: int = 20 * MIB
    """Larger photos are refused before anything is sent."""
    max_answer_bytes: int = 16 * MIB
    """Largest single event that is taken."""
    channels: int = 1
    """Connections, over which calls go in turn. A server with workers spreads connections over them, not calls."""
    retry: RetryOptions = field(default_factory=RetryOptions)

    def __post_init__(self) -> None:
        _check("timeout_s", values.timeout, self.timeout_s)
        _check("max_photo_bytes", lambda value: values.integer(value, 1, MAX_BYTES), self.max_photo_bytes)
        _check("max_answer_bytes", lambda value: values.integer(value, 1, MAX_BYTES), self.max_answer_bytes)
        _check("channels", lambda value: values.integer(value, 1, MAX_CHANNELS), self.channels)
        _check("tls", _one_of(TlsOptions, type(None)), self.tls)
        _check("retry", _one_of(RetryOptions), self.retry)
        _check("insecure", _one_of(bool), self.insecure)
        _check("token", credentials.check, self.token)
        grpc_target(self.target, tls=self.tls is not None)
        if self.tls is None and not self.insecure:
            check_plaintext(self.target, WAYS_OUT)

    @property
    def grpc_answer_bytes(self) -> int:
        """The limit that gRPC is given for one event: slightly above `max_answer_bytes`, see `limits`."""
        return int(self.max_answer_bytes) + limits.SLACK

    def channel_arguments(self) -> list[tuple[str, str | int]]:
        """The arguments of the gRPC channel.

        Retries are ours, because gRPC's own do not read RetryInfo; so its service config has none, and none from DNS.
        There is no hedging: gRPC for Python accepts the setting and does nothing.
        """
        return [
            ("grpc.max_send_message_length", int(self.max_photo_bytes) + MIB),
            ("grpc.max_receive_message_length", self.grpc_answer_bytes),
            ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}]}]})),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            ("grpc.keepalive_time_ms", 300_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # Without its own pool for each, gRPC makes one connection of all channels to one target.
            ("grpc.use_local_subchannel_pool", int(self.channels > 1)),
            proxy_option(self.target),
            *(authority_option(self.target) if self.tls is None else ()),
        ]


def _check(name: str, check: Callable[[object], object], value: object) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} {error}") from None


def _one_of(*kinds: type) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, kinds):
            raise ValueError(f"must be {' or '.join(kind.__name__ for kind in kinds)}, not {values.quoted(value)}")

    return check
