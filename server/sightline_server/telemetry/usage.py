"""The CPU, memory and descriptors of a serving process, reported by the process under its worker's number.

Rule: plain values at an interval. The library's own `process_*` metrics are read when `/metrics` is read, and so only
for the process that answers there.
"""

import asyncio
import os
import time
from pathlib import Path

from sightline_server.telemetry.metrics import Metrics

EVERY_S = 2.0
ALONE = "0"
"""The number of a server that has no other workers."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage:
    """Memory, CPU and descriptors of this process."""

    def __init__(self, metrics: Metrics, worker: str) -> None:
        self._cpu = metrics.worker_cpu.labels(worker)
        self._memory = metrics.worker_memory.labels(worker)
        self._descriptors = metrics.worker_descriptors.labels(worker)
        self._told_cpu_s = 0.0

    def tell(self) -> None:
        """Sets the current values."""
        used = time.process_time()
        self._cpu.inc(used - self._told_cpu_s)
        self._told_cpu_s = used
        self._memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES)
        self._descriptors.set(len(os.listdir("/proc/self/fd")))

    async def keep_telling(self) -> None:
        """Reports until it is cancelled."""
        while True:
            self.tell()
            await asyncio.sleep(EVERY_S)
