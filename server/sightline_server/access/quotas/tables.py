"""The two tables of a server, and their layout in the memory that its workers share.

    principals   few and known from the policy, with the calls inside of each worker
    pseudonyms   as many as there are people, from grants; those that were unused for longest are forgotten
    keys         the secret keys that the names of the pseudonyms are made with
Rule: pseudonyms never take the record of a principal. The memory holds hashes and counts, no name.
"""

from sightline_server.access.quotas.buckets import Buckets, size_of
from sightline_server.access.quotas.keys import KEYS_BYTES, PseudonymKeys
from sightline_server.access.quotas.memory import Memory, OwnMemory, SharedMemory

PRINCIPAL_SETS, PSEUDONYM_SETS = 512, 4096
"""Sets of 16 records of the two tables."""
MOST_PRINCIPALS = 1024
"""Most principals that a policy may give a quota. A set has 2 of them on average; the chance that one of the sets has
more than 16 is 1 in 40 million, and then a caller waits while all of these have calls inside."""


class QuotaTables:
    """The tables of what principals and pseudonyms have used. `worker`, from 1 on, is the number of its process."""

    def __init__(self, memory: Memory, *, workers: int, worker: int = 1) -> None:
        ends = size_of(PRINCIPAL_SETS, workers)
        self.principals = Buckets(memory, sets=PRINCIPAL_SETS, workers=workers, worker=worker - 1)
        self.pseudonyms = Buckets(memory, sets=PSEUDONYM_SETS, start=ends)
        self.keys = PseudonymKeys(memory, ends + size_of(PSEUDONYM_SETS, 0))

    @classmethod
    def own(cls) -> "QuotaTables":
        """The tables of a server of one process."""
        tables = cls(OwnMemory(memory_size(1)), workers=1)
        tables.keys.renew()
        return tables


def memory_size(workers: int) -> int:
    """Bytes of both tables and of the keys."""
    return size_of(PRINCIPAL_SETS, workers) + size_of(PSEUDONYM_SETS, 0) + KEYS_BYTES


def inherited_tables(descriptor: int, *, workers: int, worker: int) -> QuotaTables:
    """The tables in the file that process `worker` of `workers` has inherited."""
    return QuotaTables(SharedMemory(descriptor, memory_size(workers)), workers=workers, worker=worker)


class SharedTables:
    """The tables as the parent of `workers` workers has them. Raises `SightlineError` where they cannot be made."""

    def __init__(self, workers: int) -> None:
        self._memory = SharedMemory.create(memory_size(workers))
        self._tables = QuotaTables(self._memory, workers=workers)
        self.keys.renew()

    @property
    def descriptor(self) -> int:
        """The file that a worker inherits."""
        return self._memory.descriptor

    @property
    def keys(self) -> PseudonymKeys:
        """The keys of pseudonyms, which the parent makes."""
        return self._tables.keys

    def forget(self, worker: int) -> None:
        """Worker `worker` has ended, and with it its calls."""
        self._tables.principals.forget(worker - 1)

    def close(self) -> None:
        """Closes the file; its memory is freed when the last worker that maps it has ended."""
        self._memory.close()
