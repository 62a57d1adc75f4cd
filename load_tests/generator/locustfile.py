"""The same calls from the web page of Locust: `locust -f load_tests/generator/locustfile.py --host HOST:PORT`.

Needs `pip install locust`. Rule: Locust's users wait for each answer before the next call (a closed loop), so its
latencies leave out what a stall would have cost the calls that were never sent; figures of record come from
`load_tests.run`. Photos are those of `SIGHTLINE_LOAD_PHOTOS`, or the showroom's.
"""

import itertools
import os
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.experimental.gevent
from locust import User, between, task

from load_tests.generator.photos import SHOWROOM, read_photos
from sightline_client.target import proxy_option

METHOD = "/sightline.v1.LensService/Search"
DEADLINE_S = 2.0
REQUESTS = read_photos(Path(os.environ.get("SIGHTLINE_LOAD_PHOTOS", SHOWROOM))).requests

# gRPC's own threads would block Locust's green ones.
grpc.experimental.gevent.init_gevent()


class LensUser(User):
    """A person who searches a photo every second or two."""

    wait_time = between(1.0, 2.0)

    def on_start(self) -> None:
        """A user with its own connection and its own position in the list of photos."""
        options = [("grpc.use_local_subchannel_pool", 1), proxy_option(self.host)]
        self.channel = grpc.insecure_channel(self.host, options=options)
        # Bytes go and come as they are.
        self.method: Any = self.channel.unary_stream(METHOD)
        self.requests = itertools.cycle(REQUESTS)
        for _ in range(id(self) % len(REQUESTS)):
            next(self.requests)

    def on_stop(self) -> None:
        """Ends the connection."""
        self.channel.close()

    @task
    def search(self) -> None:
        """One search, to its last event."""
        begun, size, error = time.perf_counter(), 0, None
        try:
            for message in self.method(next(self.requests), timeout=DEADLINE_S):
                size += len(message)
        except grpc.RpcError as failure:
            error = RuntimeError(failure.code().name)
        self.environment.events.request.fire(
            request_type="grpc",
            name="Search",
            response_time=(time.perf_counter() - begun) * 1e3,
            response_length=size,
            exception=error,
        )
