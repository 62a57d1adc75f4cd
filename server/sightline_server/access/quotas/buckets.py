"""The use of each key: tokens of calls and of bytes, and the calls inside by worker, in a table of fixed size.

    key -> 16 bytes of its hash -> a set of 16 records -> the record with that hash, or the one unused for longest
Rule: the size never depends on the number of keys. A key without a record is one that has used nothing, and a record
with calls inside is never given to another key. A record is read and written under the lock of its set.
"""

from hashlib import blake2b
from typing import NamedTuple

from sightline_server.access.quotas.memory import Memory
from sightline_server.access.quotas.quota import BYTES, CALLS, CONCURRENT, Quota

WAYS = 16
"""Records of a set."""
HASH_BYTES = 16
WORD = 8
WORDS_OF_A_SET = WAYS * (HASH_BYTES // WORD + 3)
"""Hashes, then instants, then used calls, then used bytes."""
BUSY = "busy"
"""The outcome where a record could not be reached in time, or all of its set have calls inside."""


CALL_S = 1.0
"""The wait that is recommended where a call has to end first."""


class Outcome(NamedTuple):
    """The answer to a request for tokens: the record, the bound that refused it or "", and the seconds to wait."""

    record: int
    refused_by: str = ""
    wait_s: float = 0.0


def size_of(sets: int, workers: int) -> int:
    """Bytes of a table."""
    return WORD * sets * (WORDS_OF_A_SET + WAYS * workers)


class Buckets:
    """A table of `sets` times 16 records in `memory`, from byte `start` on, with the calls inside of `workers`.

    `worker`, from 0 on, is the number of the process that uses it. Instants are those of a monotonic clock that all
    of the processes share. Without workers no calls inside are counted.
    """

    def __init__(self, memory: Memory, *, sets: int, start: int = 0, workers: int = 0, worker: int = 0) -> None:
        self._memory = memory
        self._start = start
        self._sets = sets
        self._workers = workers
        self._worker = worker
        numbers = WORD * sets * WORDS_OF_A_SET
        view = memory.view[start : start + size_of(sets, workers)]
        self._hashes = view[:numbers]
        self._numbers = view[:numbers].cast("d")
        self._inside = view[numbers:].cast("q")

    @property
    def records(self) -> int:
        """Keys that have a record at most."""
        return self._sets * WAYS

    def enter(self, key: bytes, quota: Quota, now: float) -> Outcome:
        """Takes the tokens of one call of `key`, which is inside until `leave`; takes nothing where it is refused.

        Bytes are only compared: a call may begin while the key owes none.
        """
        return self._locked(key, quota, now, calls=1.0, size=0.0, inside=1)

    def take(self, key: bytes, quota: Quota, now: float, *, carried: float = 0.0) -> Outcome:
        """Takes the tokens of one call of `key`, which is not counted as being inside.

        `carried` are calls that were used under another key of the same caller; they are added in any case.
        """
        return self._locked(key, quota, now, calls=1.0, size=0.0, inside=0, carried=carried)

    def move_out(self, key: bytes, quota: Quota, now: float) -> float:
        """Returns the used calls of `key` and sets them to 0; 0 where there are none or they cannot be reached."""
        digest = digest_of(key)
        number = self._set_of(digest)
        place = self._start + number
        if not self._memory.lock(place):
            return 0.0
        try:
            if (way := self._find(number, digest)) < 0 or not quota.calls:
                return 0.0
            at = number * WORDS_OF_A_SET + 2 * WAYS + way
            used = quota.calls.left_used(self._numbers[at + WAYS], max(0.0, now - self._numbers[at]))
            self._numbers[at + WAYS] = 0.0
            return used
        finally:
            self._memory.unlock(place)

    def charge(self, key: bytes, quota: Quota, size: int, now: float) -> Outcome:
        """Takes `size` tokens of bytes in any case; refused where the key owed bytes before."""
        return self._locked(key, quota, now, calls=0.0, size=float(size), inside=0)

    def leave(self, record: int) -> None:
        """A call that entered has ended. Only this process writes the number, so it needs no lock."""
        self._inside[self._worker * self.records + record] -= 1

    def inside(self, record: int) -> int:
        """Calls inside of all workers."""
        return sum(self._inside[worker * self.records + record] for worker in range(self._workers))

    def forget(self, worker: int) -> None:
        """Process `worker` has ended, and with it its calls."""
        cells = slice(worker * self.records, (worker + 1) * self.records)
        self._inside[cells] = memoryview(bytes(WORD * self.records)).cast("q")

    def _locked(
        self, key: bytes, quota: Quota, now: float, *, calls: float, size: float, inside: int, carried: float = 0.0
    ) -> Outcome:
        digest = digest_of(key)
        number = self._set_of(digest)
        place = self._start + number
        if not self._memory.lock(place):
            return Outcome(-1, BUSY, CALL_S)
        try:
            way = self._find(number, digest)
            if way < 0:
                way = self._claim(number, digest, now)
            if way < 0:
                return Outcome(-1, BUSY, CALL_S)
            return self._use(number, way, quota, now, calls, size, inside, carried)
        finally:
            self._memory.unlock(place)

    def place(self, key: bytes) -> int:
        """The byte of the memory whose lock is that of the set of `key`."""
        return self._start + self._set_of(digest_of(key))

    def _set_of(self, digest: bytes) -> int:
        return int.from_bytes(digest[:WORD], "little") % self._sets

    def _use(
        self,
        number: int,
        way: int,
        quota: Quota,
        now: float,
        calls: float,
        size: float,
        inside: int,
        carried: float,
    ) -> Outcome:
        at, record = number * WORDS_OF_A_SET + 2 * WAYS + way, number * WAYS + way
        numbers = self._numbers
        seconds = max(0.0, now - numbers[at])
        used_calls = quota.calls.left_used(numbers[at + WAYS], seconds) + carried if quota.calls else 0.0
        used_bytes = quota.bytes.left_used(numbers[at + 2 * WAYS], seconds) if quota.bytes else 0.0
        refused_by, wait_s = refusal_of(quota, used_calls, used_bytes, calls)
        if inside and quota.concurrent is not None and self.inside(record) >= quota.concurrent:
            refused_by, wait_s = CONCURRENT, max(wait_s, CALL_S)
        # The instant first: a process that is killed between these lines leaves too much used, never too little.
        numbers[at] = max(now, numbers[at])
        numbers[at + WAYS] = used_calls if refused_by else used_calls + calls
        numbers[at + 2 * WAYS] = used_bytes + size
        if inside and not refused_by:
            self._inside[self._worker * self.records + record] += inside
        return Outcome(record, refused_by, wait_s)

    def _find(self, number: int, digest: bytes) -> int:
        """The way of the record with this hash; -1 without one."""
        first = WORD * number * WORDS_OF_A_SET
        hashes = self._hashes[first : first + WAYS * HASH_BYTES].tobytes()
        place = hashes.find(digest)
        while place % HASH_BYTES and place >= 0:
            place = hashes.find(digest, place + 1)
        return place // HASH_BYTES

    def _claim(self, number: int, digest: bytes, now: float) -> int:
        """Gives the record that was unused for longest and has no call inside to this hash; -1 without one."""
        at = number * WORDS_OF_A_SET + WAYS * 2
        instants = self._numbers[at : at + WAYS]
        for way in sorted(range(WAYS), key=instants.__getitem__):
            if not self.inside(number * WAYS + way):
                break
        else:
            return -1
        first = WORD * number * WORDS_OF_A_SET + way * HASH_BYTES
        self._hashes[first : first + HASH_BYTES] = bytes(HASH_BYTES)
        self._numbers[at + way] = now
        self._numbers[at + way + WAYS] = self._numbers[at + way + 2 * WAYS] = 0.0
        self._hashes[first : first + HASH_BYTES] = digest
        return way


def digest_of(key: bytes) -> bytes:
    """The hash by which a record is found."""
    return blake2b(key, digest_size=HASH_BYTES).digest()


def refusal_of(quota: Quota, used_calls: float, used_bytes: float, calls: float) -> tuple[str, float]:
    """The bound of `quota` that refuses `calls` more calls, and the seconds until it does not; "" and 0 without one.

    Bytes refuse only while more are used than may be: the size of a message is not known before it is read.
    """
    if quota.calls and calls and (wait_s := quota.calls.wait_s(used_calls, calls)) > 0.0:
        return CALLS, wait_s
    if quota.bytes and (wait_s := quota.bytes.wait_s(used_bytes, 0.0)) > 0.0:
        return BYTES, wait_s
    return "", 0.0
