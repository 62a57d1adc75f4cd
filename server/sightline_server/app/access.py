"""The access checks of a process from its settings: open without a policy file, else by the files in use.

    policy, API keys, JWKS -> FileInUse each -> Identities and the policy -> Access
Rule: each file is followed by itself, so that a key can be revoked while the policy is broken.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from sightline_server.access.api_keys import KeyRing, parse_keys
from sightline_server.access.audit import Audit, LogAudit
from sightline_server.access.checks import Access
from sightline_server.access.failed_tokens import TokenBudget, Tokens
from sightline_server.access.file_in_use import FileInUse
from sightline_server.access.identities import Identities
from sightline_server.access.key_file import read_keys
from sightline_server.access.policy import Decision, OpenPolicy
from sightline_server.access.policy_file import FilePolicy, check_catalogs, parse_policy
from sightline_server.access.principal import Caller, anonymous
from sightline_server.access.quotas.quotas import Quotas
from sightline_server.access.quotas.tables import QuotaTables
from sightline_server.app.clock import clock
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.settings import AccessSettings, Settings

POLICY, KEYS, JWKS = "policy", "keys", "jwks"
"""Names of the files in metrics, in log lines, and in what a worker inherits."""
OnCheck = Callable[[str, bool], object]
"""Receives the name of a file that was read, and whether it can be used."""
OnLimited = Callable[[str, Iterable[str]], object]
"""Receives a principal that has a quota, and the kinds of its bounds."""


def ignore(name: str, usable: bool) -> None:
    """Ignores the outcome."""


def ignore_limits(principal: str, kinds: Iterable[str]) -> None:
    """Ignores the bounds."""


def open_access(catalogs: CatalogNames, audit: Audit | None = None) -> Access:
    """The access checks of a server without a policy: every caller is anonymous and may use every catalog.

    Without `audit`, the server's log has the records.
    """
    return Access(identify=anonymous, policy=OpenPolicy(), audit=audit or LogAudit(), catalogs=catalogs)


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """The files in use. Satisfies `Policy` by the policy at each moment."""

    policy: FileInUse[FilePolicy]
    keys: FileInUse[KeyRing] | None
    tokens: FileInUse[Tokens] | None
    quotas: Quotas
    """The counts under the policy's quotas; they stay when the policy is read again."""
    budget: TokenBudget
    """The bound on the work for tokens that are not valid."""

    @property
    def files(self) -> tuple[FileInUse[FilePolicy] | FileInUse[KeyRing] | FileInUse[Tokens], ...]:
        """All of them."""
        return tuple(each for each in (self.policy, self.keys, self.tokens) if each is not None)

    @property
    def contents(self) -> dict[str, bytes]:
        """The bytes in use of each file by its name, for a worker that starts while a file is broken."""
        return {each.name: each.contents for each in self.files}

    def check(self, *, force: bool = False) -> None:
        """Reads the files that have changed, or all of them with `force`. Blocks on the disk; never raises."""
        for each in self.files:
            each.check(force=force)

    def admit(self, caller: Caller) -> Decision:
        """See `Policy`."""
        return self.policy.value.admit(caller)

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        """See `Policy`."""
        return self.policy.value.decide(caller, catalog, lane)

    def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
        """See `Policy`."""
        return self.policy.value.decide_lane(caller, lane)

    def access(self, catalogs: CatalogNames, audit: Audit | None = None) -> Access:
        """The access checks of a server that has `catalogs`. Without `audit`, the server's log has the records."""
        keys, tokens = self.keys, self.tokens
        identify = Identities(
            lambda: self.policy.value,
            None if keys is None else lambda: keys.value,
            None if tokens is None else lambda: tokens.value,
            budget=self.budget,
        )
        return Access(identify=identify, policy=self, audit=audit or LogAudit(), catalogs=catalogs, quotas=self.quotas)


def open_access_files(
    settings: Settings,
    *,
    initial: Mapping[str, bytes] | None = None,
    on_check: OnCheck = ignore,
    quotas: QuotaTables | None = None,
    on_limited: OnLimited = ignore_limits,
    quota_clock: Clock = clock,
) -> AccessFiles | None:
    """The files of the settings; None without a policy. `initial` has the contents that a parent found good.

    `quotas` are the tables that workers share; a server of one process has its own. `on_limited` and `quota_clock` are
    as for `Quotas`. Raises `SightlineError` of kind CONFIGURATION.
    """
    access, initial = settings.access, initial or {}
    if access.policy_file is None:
        return None
    policy = FileInUse(
        *(POLICY, access.policy_file, partial(checked_policy, settings)),
        initial=initial.get(POLICY),
        on_check=partial(on_check, POLICY),
    )
    keys: FileInUse[KeyRing] | None = None
    if access.keys_file is not None:
        keys = FileInUse(
            *(KEYS, access.keys_file, parse_keys),
            read=read_keys,
            initial=initial.get(KEYS),
            on_check=partial(on_check, KEYS),
        )
    tokens: FileInUse[Tokens] | None = None
    if access.jwks_file is not None:
        tokens = FileInUse(
            *(JWKS, access.jwks_file, token_parser(access)),
            initial=initial.get(JWKS),
            on_check=partial(on_check, JWKS),
        )
    counted = Quotas(
        lambda principal: policy.value.quota_of(principal),
        quotas or QuotaTables.own(),
        clock=quota_clock,
        on_limited=on_limited,
    )
    return AccessFiles(policy, keys, tokens, counted, TokenBudget(quota_clock))


def checked_policy(settings: Settings, content: bytes) -> FilePolicy:
    """The policy in `content`, which fits the settings. Raises `SightlineError` of kind CONFIGURATION."""
    policy = parse_policy(content)
    if settings.server.catalogs_folder is None:
        check_catalogs(policy, settings.catalog_names.names)
    if policy.by_certificate_name and settings.server.tls_client_ca is None:
        raise SightlineError(ErrorKind.CONFIGURATION, "`certificates` need server.tls_client_ca, which verifies them")
    if policy.by_subject and settings.access.jwks_file is None:
        raise SightlineError(ErrorKind.CONFIGURATION, "`subjects` need access.jwks_file, which verifies tokens")
    return policy


def token_parser(settings: AccessSettings) -> Callable[[bytes], Tokens]:
    """The function that reads a JWKS. Raises `SightlineError` where the package for tokens is not installed."""
    try:
        from sightline_server.access.tokens import JwtRules, parse_jwks
    except ImportError as error:
        message = 'setting access.jwks_file needs joserfc: pip install "sightline[jwt]"'
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    rules = JwtRules(settings.jwt_algorithms, settings.jwt_issuer, settings.jwt_audience, settings.jwt_leeway_s)
    return partial(parse_jwks, rules=rules)
