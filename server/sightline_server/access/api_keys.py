"""API keys: long random texts, of which the server keeps a hash and the principal.

    slk_{12 hex digits: the id}_{43 characters: 256 random bits}
Rule: the key is shown once, when it is made. A hash of 256 random bits cannot be searched, so SHA-256 without salt is
enough (https://cheatsheetseries.owasp.org, "Cryptographic Storage"), and it is compared in constant time. The id is not
secret: it names the key in lists and in `revoke`. No log line has it, because it is a part of the credential.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightline_server.access.policy_file import PRINCIPAL
from sightline_server.access.principal import ANONYMOUS, Cause, UnidentifiedError, invalid
from sightline_server.errors import ErrorKind, SightlineError

PREFIX = "slk_"
KEY = re.compile(r"slk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
NO_HASH = bytes(32)
"""The hash to compare with for an unknown id, so that it takes as long as a known one."""


class StoredKey(BaseModel):
    """One key in the file. Times are Unix times in seconds; `sha256` is the hash of the whole key in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    principal: Annotated[str, Field(pattern=f"^(?:{PRINCIPAL.pattern})$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", repr=False)]
    created: Annotated[int, Field(ge=0)]
    expires: Annotated[int, Field(ge=0)] | None = None
    revoked: Annotated[int, Field(ge=0)] | None = None
    note: Annotated[str, Field(max_length=200)] = ""

    def state(self, now: float) -> str:
        """`valid`, `expired` or `revoked` at the Unix time `now`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


class StoredKeys(BaseModel):
    """The file as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    keys: list[StoredKey]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of a server, by id."""

    keys: Mapping[str, StoredKey]

    def principal(self, key: str, now: float) -> str:
        """The principal of `key` at the Unix time `now`. Raises `UnidentifiedError`."""
        form = KEY.fullmatch(key)
        if form is None:
            raise invalid("the API key is malformed")
        stored = self.keys.get(form[1])
        expected = NO_HASH if stored is None else bytes.fromhex(stored.sha256)
        same = hmac.compare_digest(expected, hashlib.sha256(key.encode()).digest())
        if stored is None or not same:
            raise invalid("there is no such API key")
        state = stored.state(now)
        if state == "revoked":
            raise invalid(f"a revoked API key of {stored.principal}")
        if state == "expired":
            raise UnidentifiedError(Cause.EXPIRED, f"an expired API key of {stored.principal}")
        return stored.principal


def is_key(credential: str) -> bool:
    """Returns whether `credential` is meant to be an API key."""
    return credential.startswith(PREFIX)


def parse_keys(content: bytes) -> KeyRing:
    """The keys in `content`. Raises `SightlineError` of kind CONFIGURATION, which holds no content of the file."""
    return KeyRing({key.id: key for key in parse_stored(content).keys})


def parse_stored(content: bytes) -> StoredKeys:
    """The file of keys, whose ids differ. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        stored = StoredKeys.model_validate(json.loads(content), strict=True)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SightlineError(ErrorKind.CONFIGURATION, f"{place}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise SightlineError(
            ErrorKind.CONFIGURATION, "it is not a file of keys, which `sightline keys new` writes"
        ) from None
    if len({key.id for key in stored.keys}) < len(stored.keys):
        raise SightlineError(ErrorKind.CONFIGURATION, "two keys have the same id")
    return stored


def new_key(principal: str, now: float, expires: int | None, note: str) -> tuple[str, StoredKey]:
    """A new key for `principal`, and what of it is stored. Raises `ValueError` for a name that cannot be used."""
    if not PRINCIPAL.fullmatch(principal) or principal == ANONYMOUS.name:
        raise ValueError(f"{principal!r} cannot have a key; expected the name of a principal other than anonymous")
    key = f"{PREFIX}{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
    form = KEY.fullmatch(key)
    assert form is not None
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key, StoredKey(id=form[1], principal=principal, sha256=digest, created=int(now), expires=expires, note=note)


def day(instant: int | None) -> str:
    """A Unix time as a date and time in UTC; empty without one."""
    return "" if instant is None else datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M")
