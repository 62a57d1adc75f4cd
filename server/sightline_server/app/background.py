"""Tasks that run next to the calls of a process until its exit stack ends."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack

from sightline_server.rpc.listener.tls import Certificates
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.usage import Usage


def keep_running(stack: AsyncExitStack, work: Coroutine[object, object, None], name: str) -> None:
    """Runs `work`, which never ends by itself, until `stack` ends."""
    task = asyncio.create_task(work, name=name)
    stack.callback(task.cancel)


def keep_telling_usage(stack: AsyncExitStack, metrics: Metrics, worker: str) -> None:
    """Reports the CPU, memory and descriptors of this process as those of `worker`."""
    keep_running(stack, Usage(metrics, worker).keep_telling(), "usage")


def keep_certificates(stack: AsyncExitStack, certificates: Certificates | None) -> None:
    """Checks the TLS files, if there are any."""
    if certificates is not None:
        keep_running(stack, certificates.keep_checking(), "tls-files")
