"""The principal of a call, from the credential that it presents and the files in use.

    authorization: Bearer KEY or JWT -> its principal; without one -> the connection's certificate -> its principal
Rule: one credential decides. A token that is not valid is refused, also where the connection has a certificate, and two
tokens are refused: which of them counts must not depend on the order of headers.
"""

import time
from collections.abc import Callable, Iterable

from sightline_server.access.api_keys import KeyRing, is_key
from sightline_server.access.failed_tokens import TokenBudget, Tokens
from sightline_server.access.policy_file import FilePolicy, canonical
from sightline_server.access.principal import (
    ANONYMOUS,
    Cause,
    Headers,
    Presented,
    Principal,
    UnidentifiedError,
    invalid,
)

HEADER = "authorization"
SCHEME = "bearer "
MOST_BYTES = 16 * 1024
"""Longest credential that is checked, whatever `server.max_metadata_bytes` allows."""


class Identities:
    """Satisfies `Identify` by the files in use; `keys` and `tokens` are None where the server takes none of them."""

    def __init__(
        self,
        policy: Callable[[], FilePolicy],
        keys: Callable[[], KeyRing] | None = None,
        tokens: Callable[[], Tokens] | None = None,
        now: Callable[[], float] = time.time,
        budget: TokenBudget | None = None,
    ) -> None:
        """`budget` bounds the work for tokens that are not valid; without one it has its own."""
        self._policy = policy
        self._keys = keys
        self._tokens = tokens
        self._now = now
        self._budget = budget or TokenBudget(time.monotonic)

    def __call__(self, presented: Presented) -> Principal:
        """See `Identify`."""
        credential = bearer(presented.headers)
        if credential is not None:
            return self._by_credential(credential, presented)
        names = presented.certificate_names()
        if names:
            return self._by_certificate(names)
        if self._policy().allows_anonymous:
            return ANONYMOUS
        raise UnidentifiedError(Cause.MISSING, "no credential")

    def _by_credential(self, credential: str, presented: Presented) -> Principal:
        if is_key(credential):
            if self._keys is None:
                raise invalid("an API key, and the server has none")
            return self._known(self._keys().principal(credential, self._now()))
        if self._tokens is None:
            raise invalid("a token, and the server takes none")
        subject = self._budget.subject(self._tokens(), credential, self._now(), presented.peer())
        owner = self._policy().by_subject.get(subject)
        if owner is None:
            raise invalid("the subject of the token is not in the policy")
        return Principal(owner)

    def _known(self, name: str) -> Principal:
        if name not in self._policy().rights:
            raise invalid("the principal of the API key is not in the policy")
        return Principal(name)

    def _by_certificate(self, names: Iterable[str]) -> Principal:
        policy = self._policy()
        known = {policy.by_certificate_name.get(canonical(name)) for name in names} - {None}
        if len(known) > 1:
            raise invalid("the names of the certificate belong to several principals")
        for owner in known:
            if owner is not None:
                return Principal(owner)
        if policy.allows_anonymous:
            return ANONYMOUS
        raise UnidentifiedError(Cause.MISSING, "no credential, and the certificate is not in the policy")


def bearer(headers: Headers) -> str | None:
    """The credential of the `authorization` header; None without one.

    Raises `UnidentifiedError` for a header of another form.
    """
    found = [value for key, value in headers if key.lower() == HEADER]
    if not found:
        return None
    if len(found) > 1:
        raise invalid("several authorization headers")
    value = found[0]
    if not isinstance(value, str) or value[: len(SCHEME)].lower() != SCHEME:
        raise invalid("the authorization header is not `Bearer` and a credential")
    credential = value[len(SCHEME) :].strip(" ")
    if len(credential) > MOST_BYTES:
        raise invalid("the credential is too long")
    if not credential or not credential.isascii() or not credential.isprintable() or " " in credential:
        raise invalid("the credential is malformed")
    return credential
