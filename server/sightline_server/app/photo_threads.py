"""The threads and the decode processes that photos go through, of a server or a command."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from sightline_server.app.limits import process_limits
from sightline_server.settings import DecodeSettings
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.processes.pool import ENDS, DecodeProcesses
from sightline_server.telemetry.metrics import Metrics


def photo_threads(stack: AsyncExitStack, settings: DecodeSettings, metrics: Metrics) -> PhotoThreads:
    """The threads that decode and crop, and the decode processes; all end with `stack`."""
    processes = decode_processes(stack, settings, metrics)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="photos")
    stack.callback(executor.shutdown, wait=True, cancel_futures=True)
    return PhotoThreads(executor, processes)


def decode_processes(stack: AsyncExitStack, settings: DecodeSettings, metrics: Metrics) -> DecodeProcesses:
    """The decode processes of the settings, none of which is started yet; they end with `stack`."""
    # A counter that appears with its first end hides that end from rate().
    counters = {reason: metrics.decode_process_ends.labels(reason) for reason in ENDS}
    processes = DecodeProcesses(process_limits(settings), on_end=lambda reason: counters[reason].inc())
    stack.push_async_callback(processes.close)
    return processes
