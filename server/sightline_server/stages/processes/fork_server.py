"""The fork server: `python -m sightline_server.stages.processes.fork_server PARENT SOCKET MEMORY SECONDS`.

It loads the image libraries once, which takes a quarter of a second of CPU, and becomes each decode process by fork(2),
which takes some milliseconds.

    server: FORK (and the decode process's socket)   fork server: Forked (and a pidfd), or Forked(0) where it cannot
                                                     fork server: Ended, when a decode process is gone
Rule: it gets no photo, so its children inherit nothing of one; it has one thread; and it lowers its priority before it
loads the libraries.
"""

import gc
import os
import select
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from sightline_server.orphans import die_with
from sightline_server.stages.processes.forking import FORK, READY, Ended, Forked
from sightline_server.stages.processes.yielding import yield_to_others


def main() -> None:
    """Forks processes that decode, each photo within MEMORY bytes and SECONDS of CPU, until PARENT or SOCKET ends."""
    parent, descriptor, memory, seconds = map(int, sys.argv[1:5])
    die_with(parent)
    yield_to_others()
    # Late, because it takes most of the time; in each child it is there already.
    from sightline_server.stages.processes.decoding import confine, warm_up

    confine()
    warm_up()
    # What a garbage collection marks in a child would be copied, page by page.
    gc.freeze()
    with socket.socket(fileno=descriptor) as server:
        server.send(READY)
        ForkServer(server, memory, seconds).run()


class ForkServer:
    """The loop of the fork server."""

    def __init__(self, server: socket.socket, memory: int, seconds: int) -> None:
        self._server = server
        self._memory = memory
        self._seconds = seconds
        self._children: dict[int, int] = {}
        """pidfd -> process id."""
        self._events = select.poll()
        self._events.register(server, select.POLLIN)

    def run(self) -> None:
        """Forks and reaps until the server is gone. The kernel kills the children with this process."""
        with suppress(ConnectionError):
            while True:
                for descriptor, _ in self._events.poll():
                    if descriptor != self._server.fileno():
                        self._reap(descriptor)
                    elif not self._serve():
                        return

    def _serve(self) -> bool:
        """Answers one request; returns whether the server is still there."""
        message, descriptors, _, _ = socket.recv_fds(self._server, len(FORK), 1)
        if message != FORK or not descriptors:
            return False
        [channel] = descriptors
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(channel)
            self._server.send(Forked(0).encode())
            return True
        if pid == 0:
            self._become_decoder(parent, channel)
        os.close(channel)
        handle = os.pidfd_open(pid)
        self._children[handle] = pid
        self._events.register(handle, select.POLLIN)
        socket.send_fds(self._server, [Forked(pid).encode()], [handle])
        return True

    def _reap(self, handle: int) -> None:
        """Reports the end of a child."""
        self._events.unregister(handle)
        pid = self._children.pop(handle)
        os.close(handle)
        _, status = os.waitpid(pid, 0)
        self._server.send(Ended(pid, os.waitstatus_to_exitcode(status)).encode())

    def _become_decoder(self, parent: int, channel: int) -> NoReturn:
        """Decodes in the child, and never returns to the loop of its parent."""
        from sightline_server.stages.processes.decoding import run

        code = 1
        try:
            self._server.close()
            for handle in self._children:
                os.close(handle)
            run(parent, channel, self._memory, self._seconds)
            code = 0
        finally:
            # Nothing of the parent's is flushed, closed or removed by a child.
            os._exit(code)


if __name__ == "__main__":
    main()
