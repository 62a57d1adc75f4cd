"""The compared servers, with one interface: started on a cell, with a generator that speaks to it, and stopped again.

Rule: one subject runs at a time, with the machine to itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from load_tests.generator.photos import Photos
from load_tests.generator.process import Generator
from load_tests.peers.cells import Cell
from load_tests.peers.environments import prepare, versions
from load_tests.peers.equal import Answer, ask_peer, ask_sightline
from load_tests.peers.http_caller import HttpCaller
from load_tests.peers.peers import Peer
from load_tests.peers.server import PeerServer
from sightline_client.local_server import LocalServer

DEADLINE_S = 2.0
SIGHTLINE = "Sightline"


@dataclass(frozen=True, slots=True)
class Started:
    """A subject that serves. `ask` gives its answers, so many under way at once."""

    generator: Generator
    ask: Callable[[Sequence[bytes], int], list[Answer]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is compared. `cells` are the configurations that the sweep tries; Sightline has one, its own."""

    name: str
    cells: tuple[Cell | None, ...]
    start: Callable[[Cell | None], AbstractContextManager[Started]]
    versions: dict[str, str]


def sightline(catalog: Path, photos: Photos, packages: dict[str, str]) -> Subject:
    """Sightline as `sightline serve` starts it, with no setting changed."""

    @contextmanager
    def start(cell: Cell | None) -> Iterator[Started]:
        with (
            LocalServer(catalog=catalog) as server,
            Generator(server.target, photos.requests, deadline_s=DEADLINE_S) as generator,
        ):
            yield Started(generator, lambda asked, at_once: ask_sightline(server.target, asked))

    return Subject(SIGHTLINE, (None,), start, packages)


def peer_subject(peer: Peer, photos: Photos, world: Path) -> Subject:
    """A peer; its environment is made where it is missing."""
    environment = prepare(peer)
    bodies = [peer.body(photo) for photo in photos.encoded]
    caller = partial(HttpCaller, content_type=peer.content_type)

    @contextmanager
    def start(cell: Cell | None) -> Iterator[Started]:
        assert cell is not None
        with (
            PeerServer(peer, cell, environment, world, photos.encoded[0]) as server,
            Generator(server.url, bodies, deadline_s=DEADLINE_S, caller=caller) as generator,
        ):
            yield Started(generator, lambda asked, at_once: ask_peer(peer, server.url, asked, at_once=at_once))

    return Subject(peer.name, peer.cells, start, versions(peer, environment))
