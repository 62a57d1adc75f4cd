"""F9: calls that are opened and reset at once, as fast as one connection carries them (HTTP/2 rapid reset)."""

import asyncio
import time

from load_tests.attacks.frame import Attack, Bound, Target, honest_caller, scaled, watched_memory
from load_tests.attacks.http2 import Connection

RESETS = 100_000
AT_ONCE = 100
SETTLE_S = 1.0


async def run(target: Target, share: float) -> list[Bound]:
    """Resets calls while an honest caller goes on; what the caller gets is what counts."""
    with watched_memory(target) as memory:
        async with honest_caller(target, search_every_s=0.25) as seen:
            connections = await asyncio.to_thread(reset, target, scaled(RESETS, share))
            await asyncio.sleep(SETTLE_S)
    return [
        Bound("searches that failed without a retry", seen.failed, 0),
        Bound("s of the slowest probe", seen.slowest_probe, 1.0),
        Bound("MB of memory at the peak", memory.grown, 100),
        Bound("connections that it took", connections, 1 + RESETS / AT_ONCE),
    ]


def reset(target: Target, count: int) -> int:
    """Resets `count` calls, on a new connection whenever the server ends one; returns the number of connections."""
    done = connections = 0
    while done < count:
        connections += 1
        try:
            with Connection(target.address) as connection:
                while done < count:
                    connection.open_and_reset(AT_ONCE)
                    done += AT_ONCE
                    connection.listen()
        except OSError:
            time.sleep(0.01)
    return connections


ATTACK = Attack("resets", "F9: calls that are reset at once", run)
