"""A replica on a small disk that is full while it fetches a revision.

    unshare -rm python -m tests.support.full_replica FOLDER STRIDE blocks|inodes|read-only
Rule: it is tried with no free space, with STRIDE pages (or files) and so on until the revision is taken at once. Each
time the copy stays whole, the error says what to do, and the revision is taken once there is space. Prints the number
of refusals. It mounts, so the caller puts it into a user namespace.
"""

import sys
import tempfile
from pathlib import Path

from sightline_server.index.replication.reasons import NotFollowedError, Reason
from tests.support.full_disk import MOST_FREE, small_disk
from tests.support.replicas import Site


def main(folder: Path, stride: int, resource: str) -> int:
    """Sweeps; returns the number of refusals."""
    mount_point = folder / "disk"
    mount_point.mkdir(exist_ok=True)
    refused = 0
    for free in range(0, MOST_FREE, stride):
        with small_disk(mount_point) as disk, tempfile.TemporaryDirectory(dir=folder) as name:
            site = Site(Path(name), disk=mount_point)
            site.build()
            site.change("first")
            site.publish()
            site.follow()
            second = site.change("second", 91)
            site.publish()
            disk.fill(resource, free)
            try:
                error: NotFollowedError | None = site.refused()
            except AssertionError:
                assert site.revision == second
                error = None
            disk.empty()
            if error is None:
                return refused
            assert error.reason is Reason.DISK, f"{free} free: {error.reason}: {error.message}"
            assert "free some space" in error.message or "can be written" in error.message, error.message
            refused += 1
            assert site.follow() == second
            assert "second" in site.ids()
        if resource == "read-only":
            return refused
    raise AssertionError(f"it was never taken with up to {MOST_FREE} free {resource}")


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
