"""The program that runs a Milvus server in a separate network namespace: `python milvus_namespace.py FOLDER SOCKET`.

Milvus 2.3.5 listens on every interface and has no setting for another address. In this namespace there is only
loopback, which no other machine and no other process reaches; the one way in is SOCKET, a Unix socket, whose
connections go to Milvus. Prints the process id of Milvus each time that it has started. A line on standard input starts
it again after it was killed; the end of standard input ends everything.
"""

import asyncio
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

from tests.support.relay import relayed

UP = 0x1 | 0x40
SET_FLAGS = 0x8914
DEATH_SIGNAL = 1
PORT = 19530
INTERVALS = {
    "queryCoord.checkInterval": 100,
    "queryCoord.distPullInterval": 100,
    "queryNode.stats.publishInterval": 100,
}
"""Milliseconds between the rounds in which a collection is loaded; by default up to a second."""
LIBC = ctypes.CDLL(None)


def enable_loopback() -> None:
    """Sets the loopback interface of this namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))


def configure(folder: Path) -> None:
    """Unpacks the server into `folder` and writes its configuration, with its default ports."""
    import milvus

    config = milvus.MilvusServerConfig(data_dir=str(folder))
    for name, milliseconds in INTERVALS.items():
        config.set(name, milliseconds)
    config.resolve()
    milvus._initialize_data_files(str(folder))


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Starts Milvus, which ends with this process."""
    environment = {
        **os.environ,
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": "9091",
        "MILVUS_RUN_DIR": str(folder / "run"),
        "LD_LIBRARY_PATH": str(folder / "bin"),
    }
    with (folder / "logs" / "milvus.log").open("ab") as log:
        process = subprocess.Popen(
            [folder / "bin" / "milvus", "run", "standalone"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: LIBC.prctl(DEATH_SIGNAL, signal.SIGKILL),
        )
    print(process.pid, flush=True)
    return process


async def serve(folder: Path, path: Path) -> None:
    """Serves until the end of standard input."""
    process = start(folder)
    async with await asyncio.start_unix_server(
        relayed(lambda: asyncio.open_connection("127.0.0.1", PORT)), path, limit=1 << 20
    ):
        while await asyncio.to_thread(sys.stdin.readline):
            process.kill()
            process.wait()
            process = start(folder)
    process.kill()
    process.wait()


if __name__ == "__main__":
    enable_loopback()
    configure(Path(sys.argv[1]))
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
