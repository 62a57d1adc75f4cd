"""The metrics page of a server, and the facts about its build that the page shows."""

import importlib.metadata
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from sightline_server.domain.models import DETECTOR
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Engine
from sightline_server.rpc.listener.exposure import check_metrics_listener
from sightline_server.rpc.listener.listening import in_words
from sightline_server.settings import ServerSettings
from sightline_server.telemetry.exposition import serving_metrics

PACKAGES = ("sightline", "grpcio", "protobuf", "numpy", "tritonclient", "pylance")
"""Distributions whose versions `sightline_build_info` shows."""


def start_metrics(stack: AsyncExitStack, server: ServerSettings, registry: CollectorRegistry) -> str:
    """Serves `registry` as `/metrics` on `metrics_listen`; returns the address with its real port.

    Raises `SightlineError` of kind CONFIGURATION where others could read it unasked, or the port is taken.
    """
    check_metrics_listener(server)
    listen = server.metrics_listen
    try:
        port = stack.enter_context(serving_metrics(listen.resolved_host, listen.port, registry))
    except OSError as error:
        reason = in_words(error)
        raise SightlineError(ErrorKind.CONFIGURATION, f"cannot listen on {listen} for metrics: {reason}") from error
    return str(listen.with_port(port))


def build_facts(engine: Engine) -> dict[str, str]:
    """The labels of `sightline_build_info`: versions of packages, and the models of `engine`."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    embedders = ", ".join(engine.embedders.identities)
    return {**versions, "detector": engine.spec(DETECTOR).identity, "embedder": embedders}
