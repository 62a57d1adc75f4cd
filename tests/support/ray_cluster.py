"""A Ray cluster of two nodes on loopback for tests, in a separate process: `python -m tests.support.ray_cluster`

It prints the address, ends the second node at once for the line `kill` on standard input, says `killed`, and ends with
its input. Ray is installed by `make test-ray`, which runs its tests; where it is missing, they are skipped and say so,
unless SIGHTLINE_REQUIRE_RAY is set.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

ROOT = Path(__file__).parents[2]
STORE_BYTES = 100 * 1024 * 1024
REQUIRED = "SIGHTLINE_REQUIRE_RAY"


def require_ray() -> None:
    """Skips the test where Ray is not installed."""
    if importlib.util.find_spec("ray") is not None:
        return
    text = "Ray is not installed; `make test-ray` installs it and runs its tests"
    if os.environ.get(REQUIRED):
        pytest.fail(text)
    pytest.skip(text)


class TwoNodes:
    """A context: the cluster at `address`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ray_cluster"],
            cwd=ROOT,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def kill_second(self) -> None:
        """Kills the processes of the second node."""
        assert self._process.stdin is not None
        self._process.stdin.write("kill\n")
        self._process.stdin.flush()
        assert self._line() == "killed"

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the cluster has ended"
        return line


def main() -> None:
    """Runs the cluster until standard input ends."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "node_ip_address": "127.0.0.1"})
    second = cluster.add_node(**node, node_ip_address="127.0.0.1")
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
