"""The mix: a seeded choice of a group, then of a kind in it, then of what is random in that kind."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from load_tests.hostile.bodies import FRAMED, WHOLE
from load_tests.hostile.call import HostileCall, call, prefixed
from load_tests.hostile.heads import CHANGED, METADATA, METHODS, TIMEOUTS
from load_tests.hostile.materials import MEGABYTE, NO_IMAGE, Materials
from load_tests.hostile.raw import RAW
from load_tests.hostile.tiers import TIERS
from sightline.v1 import lens_service_pb2

Make = Callable[[random.Random], HostileCall]
LARGE = 20
"""Each of so many calls that would be of a megabyte is one; the others are of another kind."""


@dataclass(frozen=True, slots=True)
class RawBytes:
    """Everything that is sent on a connection."""

    kind: str
    sent: bytes


class Mix:
    """Makes hostile calls from `materials`; equal seeds make equal calls."""

    def __init__(self, materials: Materials, seed: int) -> None:
        self._materials = materials
        self._source = random.Random(seed)
        self._search = lens_service_pb2.SearchRequest(photo=NO_IMAGE).SerializeToString()
        self._good = (b"authorization", materials.good.encode())
        self._groups: dict[str, tuple[int, Make]] = {
            "token": (20, self._token),
            "grant": (20, self._grant),
            "method": (12, self._method),
            "metadata": (16, self._metadata),
            "head": (8, self._head),
            "body": (16, self._body),
            "tier": (8, self._tier),
            "reset": (8, self._reset),
        }

    def calls(self) -> Iterator[HostileCall]:
        """Calls without an end."""
        makers = [make for _, make in self._groups.values()]
        weights = [weight for weight, _ in self._groups.values()]
        while True:
            yield self._source.choices(makers, weights)[0](self._source)

    def raw(self) -> RawBytes:
        """Bytes for a connection."""
        kind, make = self._source.choice(list(RAW.items()))
        return RawBytes(f"raw: {kind}", make(self._source))

    def _token(self, source: random.Random) -> HostileCall:
        kind, value = source.choice(list(self._materials.authorizations.items()))
        if len(value) >= MEGABYTE // 2 and source.randrange(LARGE):
            value = value[: source.randrange(MEGABYTE // 100)]
        if source.random() < 0.3 and value:
            place = source.randrange(len(value))
            kind, value = f"{kind}, changed", value[:place] + bytes([source.randrange(256)]) + value[place + 1 :]
        return call(kind, (b"authorization", value), message=self._search)

    def _grant(self, source: random.Random) -> HostileCall:
        if source.random() < 0.1:
            return call("grant: replayed", self._good, (b"sightline-grant", self._materials.used), message=self._search)
        kind, grant = source.choice(list(self._materials.grants.items()))
        kind, other = f"grant: {kind}", source.choice(list(self._materials.grants.values()))
        match source.randrange(4):
            case 0:
                request = lens_service_pb2.SearchRequest(photo=NO_IMAGE, grant=grant.decode())
                return call(f"{kind}, in the message", self._good, message=request.SerializeToString())
            case 1:
                request = lens_service_pb2.SearchRequest(photo=NO_IMAGE, grant=other.decode())
                fields = (self._good, (b"sightline-grant", grant))
                return call(f"{kind}, another in the message", *fields, message=request.SerializeToString())
            case 2:
                return call(f"{kind}, twice", self._good, *[(b"sightline-grant", grant)] * 2, message=self._search)
            case _:
                return call(kind, self._good, (b"sightline-grant", grant), message=self._search)

    def _method(self, source: random.Random) -> HostileCall:
        kind, make = source.choice(list(METHODS.items()))
        message = source.choice([b"", self._search, source.randbytes(100)])
        return call(f"method: {kind}", self._good, message=message, path=make(source))

    def _metadata(self, source: random.Random) -> HostileCall:
        kind, make = source.choice(list(METADATA.items()))
        fields = make(source)
        credential = [self._good] if source.random() < 0.5 else []
        return call(f"metadata: {kind}", *credential, *fields, message=self._search)

    def _head(self, source: random.Random) -> HostileCall:
        base = call("", self._good, message=self._search)
        if source.random() < 0.3:
            return base.with_fields("head: a timeout", (b"grpc-timeout", source.choice(TIMEOUTS)))
        kind, (name, values) = source.choice(list(CHANGED.items()))
        return base.changed(f"head: {kind}", name, source.choice(values))

    def _body(self, source: random.Random) -> HostileCall:
        # Half of them have a grant that counts, or did, so that they get further.
        fields = [self._good, *([(b"sightline-grant", self._materials.used)] if source.random() < 0.5 else [])]
        if source.random() < 0.6:
            kind, make = source.choice(list(WHOLE.items()))
            return call(f"body: {kind}", *fields, message=make(source))
        kind, make = source.choice(list(FRAMED.items()))
        return replace(call(f"frame: {kind}", *fields), data=make(source))

    def _tier(self, source: random.Random) -> HostileCall:
        kind, (path, make) = source.choice(list(TIERS.items()))
        fields = [self._good, *([(b"sightline-grant", self._materials.used)] if source.random() < 0.5 else [])]
        return call(f"tier: {kind}", *fields, message=make(source), path=path)

    def _reset(self, source: random.Random) -> HostileCall:
        base = call("", self._good, message=self._search)
        match source.randrange(3):
            case 0:
                return replace(base, kind="reset: at once", reset=True)
            case 1:
                data = prefixed(self._search)
                cut = data[: source.randrange(len(data))]
                return replace(base, kind="reset: in the message", data=cut, ended=False, reset=True)
            case _:
                return replace(base, kind="reset: half sent, later", data=prefixed(self._search)[:8], ended=False)
