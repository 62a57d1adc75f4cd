"""The settings of the gRPC server and its processes."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from sightline_server.domain.address import TcpAddress
from sightline_server.settings.addresses import Listener, TcpListener
from sightline_server.settings.part import Part, Seconds


def unset(value: object) -> object:
    """None for an empty text, which is how a variable of the environment switches an address off."""
    return None if value == "" else value


class ServerSettings(Part):
    """Addresses, TLS, connections, processes and shutdown of the server."""

    listen: Listener = TcpAddress("127.0.0.1", 50051)
    """HOST:PORT for gRPC, or unix:PATH; port 0 takes a free one."""
    catalog_listen: Annotated[Listener | None, BeforeValidator(unset)] = None
    """HOST:PORT for CatalogService, which writes catalogs while they are searched, or unix:PATH, such as
    127.0.0.1:50052; port 0 takes a free one. Empty: the service is off. Without `access.policy_file` callers are not
    identified: keep the address where only the shop's own backend reaches it. Needs `workers` = 1; TLS and `insecure`
    are those of `listen`."""
    catalogs_folder: Path | None = None
    """Folder for catalogs that callers of CatalogService create; it must exist. Every catalog in it is served, by the
    name of its folder. Unset: no catalog can be created or deleted by a call. Needs `catalog_listen`."""
    keep_originals: bool = False
    """Catalogs that callers create keep the original image files of their products, so that another embedder can embed
    them later. A catalog that exists keeps what it was made or changed with (`--keep-originals`)."""
    keep_local_features: bool | None = None
    """Catalogs that callers create keep local features of their product images, at most 51 KB an image, by which
    searches compare print. If unset, as the configuration of the catalog's embedder states (`search`), else not. A
    catalog that exists keeps what it was made or changed with (`--local-features`)."""
    image_views: Annotated[int, Field(ge=1, le=2)] = 1
    """Views of each image in new catalogs, which callers or `sightline catalog build` create: 1 for the whole image, 2
    for the image without its plain margin as well, which takes up to twice as many vectors. A catalog that exists keeps
    those that it was made with (`--views`)."""
    metrics_listen: TcpListener = TcpAddress("127.0.0.1", 9464)
    """HOST:PORT for `/metrics`; port 0 takes a free one."""
    metrics_insecure: bool = False
    """Allows a `metrics_listen` that other machines reach: metrics have neither encryption nor a login."""
    tls_cert: Path | None = None
    """PEM certificate chain of the server."""
    tls_key: Path | None = None
    """PEM key of the server."""
    tls_client_ca: Path | None = None
    """PEM CA of the clients; makes TLS mutual."""
    insecure: bool = False
    """Allows a `listen` that other machines reach without TLS."""
    grace_s: Seconds = 20.0
    """Longest time that a stop waits for accepted calls."""
    max_connection_idle_s: Seconds = 600.0
    """Connections without a call are closed after this time; clients connect again when they need to."""
    handshake_timeout_s: Seconds = 10.0
    """Longest time that a new connection may take for the TLS and HTTP/2 handshakes."""
    max_connection_age_s: Seconds = 1800.0
    """Connections are closed after this time, so that load balancers can move clients to new replicas."""
    max_connection_age_grace_s: Seconds = 60.0
    """Time that running calls on such a connection have to finish."""
    max_metadata_bytes: Annotated[int, Field(ge=4096, le=1024 * 1024)] = 16 * 1024
    """Largest metadata of a call, including tokens and trace headers; gRPC refuses more with RESOURCE_EXHAUSTED."""
    load_reports: bool = False
    """Offers ORCA load reports (`xds.service.orca.v3.OpenRcaService`) on `listen`, for balancers that weight replicas
    by their load. They need no credential, as health does, and say how many searches a second are answered; see
    docs/operate/replicas.md."""
    pid_file: Path | None = None
    """File that holds the server's process id while it serves, for `sightline catalog reload --pid-file`."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the port, for machines with many cores; see docs/operate/workers.md."""
