"""Reads many damaged feeds of every format and checks that no row is lost or mixed with another in silence.

`python -m tests.tools.feed_fuzz --feeds 100000` prints a summary and exits with 1 at the first wrong reading, whose
feed it keeps; `--seed` and `--first` repeat it.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.support.feed_fuzz import Feed, make_feed
from tests.support.feed_oracle import check, read

FEED_TIMEOUT_S = 20
MEMORY = Path("/dev/shm")


def hangs(*_: object) -> None:
    """The handler of the alarm clock."""
    raise TimeoutError(f"a feed took longer than {FEED_TIMEOUT_S} s")


def feed_of(seed: int, number: int) -> Feed:
    """The feed with this number of a run with this seed."""
    return make_feed(random.Random(seed * 1_000_003 + number))


def read_feeds(seed: int, numbers: range, timed: bool = True) -> Counter[str]:
    """Reads the feeds with these numbers and counts what came of them. Raises at the first wrong one."""
    counts: Counter[str] = Counter()
    if timed:
        signal.signal(signal.SIGALRM, hangs)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        for number in numbers:
            feed = feed_of(seed, number)
            if timed:
                signal.setitimer(signal.ITIMER_REAL, FEED_TIMEOUT_S)
            try:
                reading = read(feed, Path(folder) / feed.name)
                check(feed, reading)
            except Exception as error:
                error.add_note(f"seed {seed}, feed {number}: {feed.name}, {feed.content!r}")
                raise
            finally:
                if timed:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            counts[f"{feed.kind}: {'refused' if reading.refusal else 'read'}"] += 1
            counts["products"] += sum(1 for row in reading.rows if hasattr(row, "product"))
            counts["rows skipped"] += sum(1 for row in reading.rows if not hasattr(row, "product"))
    return counts


def main() -> int:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feeds", type=int, default=100_000, help="feeds to read")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other feeds")
    parser.add_argument("--first", type=int, default=0, help="number of the first feed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    asked = parser.parse_args()
    last = asked.first + asked.feeds
    step = max(1, min(2000, asked.feeds // asked.jobs))
    parts = [range(start, min(start + step, last)) for start in range(asked.first, last, step)]
    started = time.monotonic()
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(asked.jobs) as pool:
        futures = [pool.submit(read_feeds, asked.seed, part) for part in parts]
        try:
            for future in futures:
                counts += future.result()
        except Exception as error:
            pool.shutdown(cancel_futures=True)
            print(f"WRONG: {type(error).__name__}: {error}", *error.__notes__, sep="\n", file=sys.stderr)
            return 1
    seconds = time.monotonic() - started
    print(
        json.dumps(
            {"feeds": asked.feeds, "seed": asked.seed, "seconds": round(seconds, 1), **dict(sorted(counts.items()))}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
