"""The ways in which a server or its engine is ended under writers.

Rule: an engine that is ended comes back by itself, and the server goes on; a server that is ended is started again.
"""

import asyncio
import random
import signal
import time
from dataclasses import dataclass
from enum import Enum

from load_tests.catalog_crash.served.states import Kind
from load_tests.catalog_crash.served.writers import Answers
from load_tests.observe.processes import below
from sightline_client.local_server import LocalServer

RECOVERED_WITHIN_S = 60.0
STOP_S = 40.0
LOOK_S = 0.02
SURELY_LATER_S = 0.25
"""A product that began so much later was not embedded before the end of the engine."""


class Harm(Enum):
    """The processes that a round ends, and how."""

    KILL = "kill"
    TERM = "term"
    TERM_KILL = "term-kill"
    """SIGTERM, and SIGKILL while the server stops."""
    ENGINE = "engine"
    """tritonserver, which the server starts again."""
    STUB = "stub"
    """The process of the embedder."""
    ENGINE_KILL = "engine-kill"
    """tritonserver, and the server while its engine comes back."""

    @property
    def ends_server(self) -> bool:
        """Returns whether the server has to be started again."""
        return self not in (Harm.ENGINE, Harm.STUB)


HARMS = {
    "kill": (Harm.KILL,),
    "term": (Harm.TERM, Harm.TERM_KILL),
    "engine": (Harm.ENGINE, Harm.STUB, Harm.ENGINE_KILL),
    "mixed": tuple(Harm),
}
"""The ways of a run by its name; its rounds take them in turn."""


@dataclass(frozen=True, slots=True)
class Down:
    """The time without an engine: from its end until an image that was sent later was embedded; `back` is None if none
    was within `RECOVERED_WITHIN_S`."""

    since: float
    back: float | None


async def end_server(server: LocalServer, harm: Harm, choice: random.Random) -> int:
    """Ends the server; returns its exit code."""
    if harm is Harm.ENGINE_KILL:
        end_part(server, "tritonserver")
        await asyncio.sleep(choice.uniform(0.0, 2.0))
    server.send_signal(signal.SIGKILL if harm in (Harm.KILL, Harm.ENGINE_KILL) else signal.SIGTERM)
    if harm is Harm.TERM_KILL:
        await asyncio.sleep(choice.uniform(0.0, 0.5))
        server.send_signal(signal.SIGKILL)
    return await asyncio.to_thread(server.wait, STOP_S)


async def end_engine(server: LocalServer, harm: Harm, answers: Answers) -> Down:
    """Ends a part of the engine, and waits until it is back."""
    since = time.monotonic()
    end_part(server, "tritonserver" if harm is Harm.ENGINE else "embedder")
    while time.monotonic() < since + RECOVERED_WITHIN_S:
        await asyncio.sleep(LOOK_S)
        refused = [each.began for each in answers.of(Kind.IMAGE, since=since) if not each.written]
        after = max([since + SURELY_LATER_S, *refused])
        back = next((each.ended for each in answers.of(Kind.IMAGE, since=after) if each.written), None)
        if back is not None:
            return Down(since, back)
    return Down(since, None)


def end_part(server: LocalServer, role: str) -> None:
    """Ends the process of `role` below the server."""
    below(server.pid)[role][0].kill()
