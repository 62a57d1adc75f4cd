"""The folder of an audit log: its first key, the roots of its chains, and the chain that this process may write.

    FOLDER/root.json  chain-0/state, lock, 000001-20261126.jsonl ...   chain-1/ ...
Rule: one process writes a chain at a time, held by a lock; each takes the first one that is free, and begins another
where none is. The root of the next chain does not lead back to those before, as keys of records do not.
"""

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sightline_server.access.audit_log.chain import KEY_BYTES, first_link, key_id, next_key
from sightline_server.access.audit_log.chain_writer import ChainWriter, Rotation, sync_folder
from sightline_server.access.audit_log.files import LOCK, STATE, chains_of
from sightline_server.access.audit_log.state import State, StateFile, read_state
from sightline_server.access.key_file import read_keys, replace_file
from sightline_server.errors import ErrorKind, SightlineError

log = logging.getLogger(__name__)

ROOT, FIRST_KEY = "root.json", "first.key"
MOST_CHAINS = 1000


@dataclass(frozen=True, slots=True)
class Root:
    """The material of the next chain: the id of the first key, the number of chains, and the secret of the next one."""

    key_id: str
    chains: int
    secret: bytes

    def encode(self) -> bytes:
        """The content of its file."""
        return json.dumps({"key_id": self.key_id, "chains": self.chains, "root": self.secret.hex()}).encode() + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """The reverse of `encode`. Raises `ValueError`."""
        try:
            facts = json.loads(content)
            return cls(str(facts["key_id"]), int(facts["chains"]), bytes.fromhex(facts["root"]))
        except (KeyError, TypeError) as error:
            raise ValueError("a field is missing") from error


def read_first_key(path: Path) -> bytes:
    """The first key in a file of 64 hexadecimal digits. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        key = bytes.fromhex(read_keys(path).decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise wrong(f"{path} is not a key of an audit log: it needs {2 * KEY_BYTES} hexadecimal digits, as `openssl "
                    "rand -hex 32` prints them")  # fmt: skip
    return key


def read_root(folder: Path) -> Root | None:
    """The root of the log in `folder`; None where it has none. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        return Root.decode((folder / ROOT).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise wrong(f"cannot read {folder / ROOT}: {error}") from error


def prepare(folder: Path, key_file: Path | None) -> None:
    """Makes the folder and its root, once, and checks them. Raises `SightlineError` of kind CONFIGURATION."""
    with errors_of(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder):
            prepare_root(folder, key_file)
    warn_of_key(folder, key_file)


def prepare_root(folder: Path, key_file: Path | None) -> Root:
    """The root of the log, which is made from the first key where there is none. The folder must be locked."""
    root = read_root(folder)
    if root is None:
        if chains_of(folder):
            raise wrong(f"{folder} has an audit log without its {ROOT}: restore it, or choose another audit.folder")
        first = read_first_key(key_file) if key_file else made_key(folder)
        root = Root(key_id(first), 0, first)
        replace_file(folder / ROOT, root.encode())
    elif key_file is not None and key_file.exists() and key_id(read_first_key(key_file)) != root.key_id:
        raise wrong(f"{key_file} is not the first key of the audit log in {folder}")
    return root


def made_key(folder: Path) -> bytes:
    """A new first key, which is in the folder for its owner to take away."""
    key = secrets.token_bytes(KEY_BYTES)
    replace_file(folder / FIRST_KEY, key.hex().encode() + b"\n")
    return key


def warn_of_key(folder: Path, key_file: Path | None) -> None:
    """Warns where the first key is on this machine: it can write any record of any time."""
    path = folder / FIRST_KEY if key_file is None else key_file
    if path.exists():
        log.warning(
            "audit: the first key is in %s: move it to another machine, where `sightline audit verify` needs it; "
            "while it is here, a thief of it can rewrite the whole log",
            path,
        )


def open_chain(
    folder: Path, key_file: Path | None, rotation: Rotation, now: Callable[[], float]
) -> tuple[ChainWriter, int]:
    """The writer of the first chain that no process writes, and the descriptor that keeps others from it.

    Raises `SightlineError` of kind CONFIGURATION.
    """
    with errors_of(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder):
            root = prepare_root(folder, key_file)
            number, lock = free_chain(folder)
            try:
                path = folder / f"chain-{number}"
                if number == root.chains:
                    root = begun(folder, path, root)
                return ChainWriter(number, path, root.key_id, stored(path), rotation, now), lock
            except BaseException:
                os.close(lock)
                raise


def free_chain(folder: Path) -> tuple[int, int]:
    """The number of the first chain that is free, and the descriptor of its lock."""
    for number in range(MOST_CHAINS):
        path = folder / f"chain-{number}"
        path.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return number, lock
    raise wrong(f"{MOST_CHAINS} processes write to the audit log in {folder}: give each server its own audit.folder")


def begun(folder: Path, path: Path, root: Root) -> Root:
    """Begins the next chain, in `path`; returns the root of the one after it."""
    state = StateFile(path / STATE)
    state.write(State(first_link(root.chains, root.secret)), both=True, sync=True)
    state.close()
    sync_folder(path)
    sync_folder(folder)
    after = Root(root.key_id, root.chains + 1, next_key(root.secret))
    replace_file(folder / ROOT, after.encode())
    return after


def stored(path: Path) -> State:
    """The end of a chain that was begun before. Raises `SightlineError` of kind CONFIGURATION."""
    state = read_state(path / STATE)
    if state is None:
        raise wrong(
            f"{path / STATE} is missing or damaged, and the chain cannot be continued without it: verify the log, then "
            "move it away or choose another audit.folder"
        )
    return state


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from choosing a chain meanwhile. Raises `OSError`."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def errors_of(folder: Path) -> Iterator[None]:
    """Turns an `OSError` into a `SightlineError` of kind CONFIGURATION."""
    try:
        yield
    except OSError as error:
        raise wrong(f"cannot write the audit log in {folder}: {error.strerror or error}") from error


def wrong(message: str) -> SightlineError:
    """The error of a log that cannot be used as it is."""
    return SightlineError(ErrorKind.CONFIGURATION, message)
