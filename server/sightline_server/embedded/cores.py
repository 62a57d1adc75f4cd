"""The locks with which the models' processes share the machine's cores (backend/model_cores.py).

One file without a name for each core, which this process keeps open. Rule: nothing else may need to know them: a model
that is loaded again finds the files that the other one locks, and when this process ends they are gone.
"""

import os


class SharedCores:
    """The files, open until `close`."""

    def __init__(self) -> None:
        """One for each core that this process may use."""
        count = len(os.sched_getaffinity(0))
        self._files = [os.memfd_create(f"sightline-core-{place}", os.MFD_CLOEXEC) for place in range(count)]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the engine must inherit."""
        return tuple(self._files)

    @property
    def paths(self) -> str:
        """The paths of the inherited descriptors for the engine, separated by colons; launch.py puts its process id in.

        The models' processes open them through tritonserver: nothing of the server's is open to others.
        """
        return ":".join(f"/proc/self/fd/{file}" for file in self._files)

    def close(self) -> None:
        """Lets go of them."""
        while self._files:
            os.close(self._files.pop())
