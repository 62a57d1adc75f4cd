"""Several processes on one port: `sightline serve --workers N`.

    parent  port (taken, not listened on) · /metrics · the engine · the catalog, laid out to be mapped
      └─ worker x N  its own event loop, gRPC server, admission, batchers; the parent's engine and catalog
Rule: the parent serves no calls, so that nothing that a call does can harm it; a worker that ends harms its own calls
only and is started again.
"""

from sightline_server.workers.serving import serving_with_workers

__all__ = ["serving_with_workers"]
