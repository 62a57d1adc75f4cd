"""The names in the verified certificate of a connection, as gRPC reports them."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

KINDS = {"peer_dns": "dns", "peer_uri": "uri", "peer_email": "email", "peer_ip": "ip"}
"""Property of gRPC -> kind of name. They are the subject alternative names; the common name does not count."""


def certificate_names(context: grpc.aio.ServicerContext[Any, Any]) -> frozenset[str]:
    """The names, each as KIND:NAME; none without a client certificate, which only mutual TLS has."""
    properties: Mapping[str, Iterable[bytes]] = context.auth_context()
    return frozenset(
        f"{kind}:{name.decode('utf-8', 'replace')}" for key, kind in KINDS.items() for name in properties.get(key, ())
    )
