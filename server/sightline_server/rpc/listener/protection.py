"""Channel arguments that keep one connection from taking the server away from others.

Each was tried against the attack that it is for (`load_tests/attacks/`).
"""

from sightline_server.settings import LimitSettings, ServerSettings

STREAMS_OF_A_CALL = 2
"""HTTP/2 streams of a connection for each search that it may have open: refusals, probes and watches take some too."""
PENDING_CALLS = 100_000
"""Calls that may wait for the event loop. Beyond gRPC's default of 1,000 it cancels any of them, at random."""


def protection(server: ServerSettings, limits: LimitSettings) -> list[tuple[str, int]]:
    """The arguments for messages, streams and connections."""
    return [
        ("grpc.max_receive_message_length", limits.largest_request),
        # Photos are compressed already, and 20 kB can unpack to 20 MB. Compressed messages arrive as they are, so that
        # the handler answers them; with the algorithms switched off gRPC answers, without details, and logs each.
        ("grpc.per_message_decompression", 0),
        # With a limit on open streams gRPC also holds back a connection that opens and resets them.
        ("grpc.max_concurrent_streams", STREAMS_OF_A_CALL * limits.max_connection_calls),
        ("grpc.server.max_pending_requests", PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
        # Uploads that wait for memory hold a window of HTTP/2 each: 64 kB, which a probe for bandwidth would raise to
        # megabytes. While a message is read the window is 1 MB either way, 20 MB/s on a path of 50 ms.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_connection_idle_ms", int(server.max_connection_idle_s * 1000)),
        ("grpc.server_handshake_timeout_ms", int(server.handshake_timeout_s * 1000)),
    ]
