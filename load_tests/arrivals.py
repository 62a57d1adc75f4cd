"""When calls are meant to start. Pure.

Rule: the schedule is made before the run and does not know how the server does (an open loop): a slow answer delays no
later call, and latency counts from the intended start, so that a stall shows in every call that it held up.
"""

import random
from collections.abc import Iterator


def constant(rate_per_s: float, seconds: float) -> Iterator[float]:
    """Seconds from the start of the run, evenly spaced, `rate_per_s` a second."""
    return (place / rate_per_s for place in range(round(rate_per_s * seconds)))


def poisson(rate_per_s: float, seconds: float, seed: int) -> Iterator[float]:
    """Seconds from the start of the run with independent gaps, `rate_per_s` a second on average."""
    source = random.Random(seed)
    at = source.expovariate(rate_per_s)
    while at < seconds:
        yield at
        at += source.expovariate(rate_per_s)
