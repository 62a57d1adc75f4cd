"""One `/metrics` for several processes: each writes its values into mapped files, the parent reads them all.

Rule: a process joins before it makes its first metric, under its own name (a worker's number, so that a worker
that is started again goes on counting where the one before it ended). The folder belongs to one parent, is empty when
it begins, and goes with it; folders of parents that were killed go with the next start.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.gc_collector import GCCollector
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from sightline_server.process_identity import ProcessIdentity, own_identity

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "sightline-metrics-"


@contextmanager
def metrics_folder() -> Iterator[Path]:
    """An empty folder of this process for the length of the block."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_abandoned(left.name):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{own_identity()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_abandoned(name: str) -> bool:
    """Returns whether a folder's name holds the id of a process that has ended; False for a name without one."""
    owner = ProcessIdentity.parse(name.removeprefix(PREFIX))
    return owner is not None and not owner.lives


@contextmanager
def joined(folder: Path, name: str) -> Iterator[None]:
    """Every metric made within the block, and in this process, has its values in `folder` under `name`."""
    alone = values.ValueClass
    os.environ[FOLDER_VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: name)
    try:
        yield
    finally:
        values.ValueClass = alone
        del os.environ[FOLDER_VARIABLE]


def is_joined() -> bool:
    """Returns whether new metrics are in shared files, which keep every label that was ever written into them."""
    return FOLDER_VARIABLE in os.environ


def of_all(folder: Path) -> CollectorRegistry:
    """The content of `/metrics`: the values of every process in `folder`, and this process's own memory and CPU."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    MultiProcessCollector(registry, path=str(folder))
    return registry


def forget_gauges(folder: Path, name: str) -> None:
    """The process called `name` has ended: its gauges are no more, its counters stay."""
    mark_process_dead(name, path=str(folder))
