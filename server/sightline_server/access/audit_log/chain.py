"""The chain of an audit log: the MAC of a line covers the line before it, and its key is used once.

    mac = HMAC-SHA-256(key, previous mac | body),   line = body,"mac":"..."}   next key = SHA-256(key)
Rule: no I/O. The key of a line cannot be computed from a later one, so a thief of today's key cannot write a line of
yesterday. The first key, kept elsewhere, gives all of them (Bellare and Yee, forward integrity, 1997).
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

KEY_BYTES = 32
MAC_HEX = 64
MAC_FIELD, LINE_END = b',"mac":"', b'"}\n'
FRAME = len(MAC_FIELD) + MAC_HEX + len(LINE_END)

Fields = Mapping[str, object]
"""The fields of a record in their order, without its id and its MAC."""


@dataclass(frozen=True, slots=True)
class Link:
    """The end of a chain: the number of its next record, the key for that record, and the MAC of the record before."""

    seq: int
    key: bytes = field(repr=False)
    mac: bytes


def next_key(key: bytes, steps: int = 1) -> bytes:
    """The key that follows `steps` keys after `key`."""
    for _ in range(steps):
        key = hashlib.sha256(key).digest()
    return key


def chain_key(root: bytes) -> bytes:
    """The first key of the chain whose root is `root`; the root of the next chain is `next_key(root)`."""
    return hmac.digest(root, b"sightline audit chain", hashlib.sha256)


def key_id(first_key: bytes) -> str:
    """A public name of a first key, which shows whether a key belongs to a log."""
    return hashlib.sha256(b"sightline audit key" + first_key).hexdigest()[:16]


def origin(chain: int, first_key: bytes) -> Link:
    """The beginning of chain number `chain` of the log with `first_key`."""
    return first_link(chain, next_key(first_key, chain))


def first_link(chain: int, root: bytes) -> Link:
    """The beginning of chain number `chain`, whose root is `root`."""
    return Link(0, chain_key(root), hashlib.sha256(b"sightline audit chain %d" % chain).digest())


def record_id(chain: int, seq: int) -> str:
    """The id of a record, unique in a log."""
    return f"{chain}-{seq}"


def mac_of(link: Link, body: bytes) -> bytes:
    """The MAC of `body` as the next record."""
    return hmac.digest(link.key, link.mac + body, hashlib.sha256)


def sealed(link: Link, chain: int, fields: Fields) -> tuple[bytes, Link]:
    """The line of a record with `fields` behind `link`, and the end of the chain after it."""
    body = json.dumps({"record_id": record_id(chain, link.seq), **fields}, separators=(",", ":")).encode()[:-1]
    mac = mac_of(link, body)
    line = body + MAC_FIELD + mac.hex().encode() + LINE_END
    return line, Link(link.seq + 1, next_key(link.key), mac)


def sealed_all(link: Link, chain: int, records: Iterable[Fields]) -> tuple[bytes, Link]:
    """The lines of several records, and the end of the chain after them."""
    lines = []
    for fields in records:
        line, link = sealed(link, chain, fields)
        lines.append(line)
    return b"".join(lines), link


def stated_mac(line: bytes) -> bytes | None:
    """The MAC that a line states; None for bytes that are not framed as a line."""
    frame = line[-FRAME:]
    if len(line) <= FRAME or not frame.startswith(MAC_FIELD) or not frame.endswith(LINE_END):
        return None
    stated = frame[len(MAC_FIELD) : -len(LINE_END)]
    try:
        mac = bytes.fromhex(stated.decode("ascii"))
    except ValueError:
        return None
    return mac if mac.hex().encode() == stated else None


def following(link: Link, line: bytes) -> Link | None:
    """The end of the chain after `line`, with its line feed; None where it is not the next record of the chain."""
    stated = stated_mac(line)
    if stated is None or not hmac.compare_digest(stated, mac_of(link, line[:-FRAME])):
        return None
    return Link(link.seq + 1, next_key(link.key), stated)
