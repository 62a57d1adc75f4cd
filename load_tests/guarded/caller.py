"""A caller whose every search has a credential and a grant for its photo.

Rule: grants are signed before a run begins where that is possible: what a consent service costs is not a server's cost.
"""

from collections.abc import Sequence
from typing import Any

from load_tests.generator.caller import Caller, Metadata
from load_tests.guarded.rights import Credentials
from sightline.v1 import lens_service_pb2

READY = 4
"""Grants of each request that are signed before a run; they are valid for a minute."""


class GrantedCaller(Caller):
    """Calls with the credentials of `credentials`."""

    def __init__(self, target: str, requests: Sequence[bytes], *, credentials: Credentials, **options: Any) -> None:
        super().__init__(target, requests, **options)
        self._credentials = credentials
        self._signer = credentials.signer
        self._photos = [lens_service_pb2.SearchRequest.FromString(request).photo for request in requests]
        self._ready: list[list[Metadata]] = []

    def begin(self) -> None:
        """Signs grants, and then starts the clock of a run."""
        self._ready = [[self._signed(photo) for _ in range(READY)] for photo in self._photos]
        super().begin()

    def metadata(self, request: int) -> Metadata:
        """The credential, and a grant that was not used before."""
        ready = self._ready[request]
        return ready.pop() if ready else self._signed(self._photos[request])

    def _signed(self, photo: bytes) -> Metadata:
        return self._credentials.metadata(self._signer, photo)
