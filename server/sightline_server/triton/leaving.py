"""The regions that Triton must unmap, requested until it has done so.

Triton refuses for a region that a call still reads, and a frozen one does not answer at all. Rule: a name is kept until
Triton has confirmed it; asking twice does no harm.
"""

from contextlib import suppress

from sightline_server.triton.faults import EngineError
from sightline_server.triton.ports import RegionRegistry

TIMEOUT_S = 5.0


class Leaving:
    """Names of one connection's regions, and of other processes' that have ended."""

    def __init__(self, client: RegionRegistry) -> None:
        """Asks through `client`."""
        self._client = client
        self._names: set[str] = set()
        self._prefixes: set[str] = set()

    def add(self, name: str) -> None:
        """Adds the region of this name, which Triton need not know."""
        self._names.add(name)

    def add_others(self, prefix: str) -> None:
        """Adds every region whose name begins with `prefix`."""
        self._prefixes.add(prefix)

    async def ask(self) -> None:
        """Asks for all of them, once; stops at the first question without an answer, as the next would have none."""
        with suppress(EngineError):
            await self._look_up()
            for name in tuple(self._names):
                await self._unregister(name)

    async def _look_up(self) -> None:
        if prefixes := tuple(self._prefixes):
            every = await self._client.registered(TIMEOUT_S)
            self._names |= {name for name in every if name.startswith(prefixes)}
            self._prefixes -= set(prefixes)

    async def _unregister(self, name: str) -> None:
        try:
            await self._client.unregister(name, TIMEOUT_S)
        except EngineError as error:
            if not error.ended:
                raise
            # A call still reads it.
            return
        self._names.discard(name)
