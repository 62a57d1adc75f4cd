"""The worker's program: `python -m sightline_server.workers.worker PARENT`, with its task on standard input.

Rule: it listens when its parts are warm and its parent says so, and stops listening first when it ends, so that
connections go to workers that serve. SIGTERM, once or often, lets accepted calls finish; SIGINT, which only the parent
sends, cancels them with a final status to their callers. It dies with its parent, whose engine it uses.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from sightline_server.access.quotas.tables import QuotaTables, inherited_tables
from sightline_server.app.engine import engine_session
from sightline_server.app.following_operations import FollowedCatalogs
from sightline_server.app.parts import Front, admit_calls, build_core, build_front
from sightline_server.app.warm_up import warm_up
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.choice.choosing import DEFAULT_POLICY
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.registry import Registry
from sightline_server.index.shared import open_shared
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.memory import keep_modules, protect
from sightline_server.orphans import die_with
from sightline_server.rpc import server as rpc_server
from sightline_server.telemetry import logging as server_logging
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.shared import joined
from sightline_server.telemetry.stderr import close_to_libraries
from sightline_server.workers.task import SERVING, WARM, Task, failed_line, given_up_line

FAILED, MISCONFIGURED = 1, 2


class WorkerEngineMetrics(EngineMetrics):
    """Metrics of how a worker reaches the engine; the parent reports everything else, once for all workers."""

    def __init__(self, metrics: Metrics, say: Callable[[bytes], object]) -> None:
        super().__init__(metrics.engine)
        self._say = say

    def restarted(self, kind: str, /) -> None:
        """Ignores a reconnection; the parent counts restarts."""

    def provider(self, model: str, name: str, precision: str, /) -> None:
        """Always `remote` from here."""

    def given_up(self, model: str, /) -> None:
        """Reports the model to the parent, which owns the engine."""
        with suppress(OSError):
            self._say(given_up_line(model))


def main() -> None:
    """Serves until SIGTERM; exits with 1, or 2 where the settings are wrong, when it cannot."""
    die_with(int(sys.argv[1]))
    protect()
    keep_modules()
    say = words_to_parent()
    task = Task.decode(sys.stdin.buffer.readline())
    log = task.settings.log
    close_to_libraries()
    server_logging.configure(log.level, json_lines=log.json_lines, worker=str(task.number))
    try:
        with joined(Path(task.metrics_folder), str(task.number)):
            asyncio.run(serve(task, say))
    except asyncio.CancelledError:
        sys.exit(FAILED)
    except SightlineError as error:
        say(failed_line(error))
        sys.exit(MISCONFIGURED if error.kind is ErrorKind.CONFIGURATION else FAILED)


def words_to_parent() -> Callable[[bytes], object]:
    """A function that writes a line to the parent. Whatever a library prints goes to standard error from now on."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return lambda line: os.write(pipe, line)


async def serve(task: Task, say: Callable[[bytes], object]) -> None:
    """Serves from warm-up to a graceful stop."""
    stop = asyncio.Event()
    loop, serving = asyncio.get_running_loop(), asyncio.current_task()
    assert serving is not None
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, serving.cancel)
    async with standing(task, say) as front:
        door = front.door
        say(WARM)
        # The parent lets all of its first workers listen at once; a replacement listens as soon as it is warm.
        await asyncio.to_thread(sys.stdin.buffer.readline)
        with rpc_server.listening(door.server, task.settings.server, door.certificates):
            await door.server.start()
            say(SERVING)
            await stop.wait()


@asynccontextmanager
async def standing(task: Task, say: Callable[[bytes], object]) -> AsyncIterator[Front]:
    """One worker for the length of the block, all but listening. Raises `SightlineError`."""
    settings, metrics = task.settings, Metrics()
    async with AsyncExitStack() as stack:
        front = build_front(
            *(stack, settings, metrics),
            worker=str(task.number),
            tls=task.tls,
            access_contents=task.access,
            quotas=quota_tables(task),
        )
        stack.push_async_callback(front.door.server.stop, None)
        events = WorkerEngineMetrics(metrics, say)
        engine = await stack.enter_async_context(engine_session(settings, events, watched=task.digests))
        following = followed_catalogs(task, metrics)
        publish = partial(publish_shared, task, following)
        core = await build_core(stack, front, engine, events, publish, weights=task.weights)
        await warm_up(core.pipeline, settings)
        await admit_calls(front, core)
        following.keep_following(stack)
        stack.push_async_callback(leave, front, settings.server.grace_s)
        yield front


def quota_tables(task: Task) -> QuotaTables | None:
    """The tables of quotas that the worker has inherited; None without a policy."""
    if task.quotas is None:
        return None
    os.set_inheritable(task.quotas, False)
    return inherited_tables(task.quotas, workers=task.settings.server.workers, worker=task.number)


def followed_catalogs(task: Task, metrics: Metrics) -> FollowedCatalogs:
    """The catalogs of `task` that follow another server: each worker applies operations to what the parent laid out."""
    sources = task.settings.followed_catalogs
    folders = {each.name: Path(each.path) for each in task.catalogs if each.name in sources}
    mapped = partial(open_mapped, task)
    return FollowedCatalogs(folders, sources, DEFAULT_POLICY, metrics.replication, open_base=mapped, worker=task.number)


async def publish_shared(
    task: Task, following: FollowedCatalogs, registry: Registry, device: DeviceThread, embedders: ServedEmbedders
) -> None:
    """Opens the catalogs that the parent has laid out, each bound to one of `embedders`. Raises `SightlineError`."""
    for shared in task.catalogs:
        if shared.name not in task.settings.followed_catalogs:
            registry.publish(await open_mapped(task, shared.name, device))
    await following.publish(registry, device, embedders)


async def open_mapped(task: Task, name: str, device: DeviceThread) -> CatalogSnapshot:
    """Opens the catalog `name` that the parent has laid out, once."""
    [shared] = (each for each in task.catalogs if each.name == name)
    opened = await open_shared(shared, device, sharers=task.settings.server.workers)
    # The maps stay; many catalogs would take many descriptors.
    shared.close()
    return opened


async def leave(front: Front, grace_s: float) -> None:
    """Stops listening and makes clients connect again; then lets accepted calls finish, as a lone server does."""
    door = front.door
    ending = asyncio.create_task(door.server.stop(2 * grace_s), name="stop-listening")
    await asyncio.sleep(0)
    try:
        await door.close(grace_s)
    finally:
        # Ends what is not a call of ours, such as a balancer that watches the health; the first stop returns with it.
        await door.server.stop(None)
        await ending


if __name__ == "__main__":
    main()
