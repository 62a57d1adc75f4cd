"""The policy file: TOML in which each principal has its credentials, catalogs, methods, lanes and quota.

    [principals.app]
    certificates = ["uri:spiffe://shop.example/app"]
    subjects = ["app@shop.example"]
    catalogs = ["shop", "outlet-*"]
    methods = ["search"]
    lanes = ["interactive"]
    quota = { calls_per_minute = 600, concurrent = 16 }
Rule: a name that is not known is an error of the configuration, because a right with a typing error is a wrong right.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sightline_server.access.methods import EVERY, GROUPS, methods_named
from sightline_server.access.policy import Decision, Subject
from sightline_server.access.principal import ANONYMOUS, Caller
from sightline_server.access.quotas.quota import NO_QUOTA, Quota
from sightline_server.access.quotas.quota_table import QuotaTable
from sightline_server.access.quotas.tables import MOST_PRINCIPALS
from sightline_server.domain.catalogs import NAME
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError

LANES = {lane.name.lower(): lane for lane in Lane}
PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
PATTERN = re.compile(rf"{NAME.pattern}|(?:[A-Za-z0-9][A-Za-z0-9._-]{{0,61}})?\*")
"""A name of a catalog, or the beginning of names and a `*`."""
CERTIFICATE_NAME = re.compile(r"(?:dns|uri|email|ip):[!-~]+")
GENERATION = "@"
"""The separator between the name of a catalog and the number of a generation. Rights to a catalog cover them all."""


def known_method(word: str) -> str:
    """`word`, where it is a method or a group of methods. Raises `ValueError`."""
    try:
        methods_named(word)
    except KeyError:
        groups = ", ".join([*GROUPS, EVERY])
        raise ValueError(f"{word!r} is not a method; expected the name of a method, or one of {groups}") from None
    return word


def known_lane(word: str) -> str:
    """`word`, where it is a lane. Raises `ValueError`."""
    if word not in LANES:
        raise ValueError(f"{word!r} is not a lane; expected one of {', '.join(LANES)}")
    return word


def catalog_pattern(word: str) -> str:
    """`word`, where it can be the name of a catalog, or the beginning of one and `*`. Raises `ValueError`."""
    if not PATTERN.fullmatch(word):
        raise ValueError(f"{word!r} is not a name of catalogs; expected a name, or the beginning of names and a *")
    return word


def certificate_name(word: str) -> str:
    """`word`, where it is a typed name of a certificate. Raises `ValueError`."""
    if not CERTIFICATE_NAME.fullmatch(word):
        raise ValueError(f"{word!r} is not a name in a certificate; expected dns:, uri:, email: or ip: and the name")
    return canonical(word)


def canonical(name: str) -> str:
    """A name of a certificate in the form in which names are compared: DNS names have no case."""
    return name.lower() if name.startswith("dns:") else name


class PrincipalTable(BaseModel):
    """One table `[principals.NAME]` of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    catalogs: Annotated[list[Annotated[str, AfterValidator(catalog_pattern)]], Field(min_length=1)]
    methods: Annotated[list[Annotated[str, AfterValidator(known_method)]], Field(min_length=1)]
    lanes: Annotated[list[Annotated[str, AfterValidator(known_lane)]], Field(min_length=1)] = list(LANES)
    certificates: list[Annotated[str, AfterValidator(certificate_name)]] = []
    subjects: list[Annotated[str, Field(min_length=1, max_length=1024)]] = []
    quota: QuotaTable | None = None


class PolicyTables(BaseModel):
    """The file as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    principals: Annotated[
        dict[Annotated[str, Field(pattern=f"^(?:{PRINCIPAL.pattern})$")], PrincipalTable], Field(min_length=1)
    ]
    default_quota: QuotaTable = QuotaTable()


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of one principal. An entry of `beginnings` stands for every catalog whose name begins with it."""

    catalogs: frozenset[str]
    beginnings: tuple[str, ...]
    methods: frozenset[str]
    lanes: frozenset[Lane]

    def covers(self, catalog: str) -> bool:
        """Returns whether the rights are for `catalog`."""
        name = catalog.partition(GENERATION)[0]
        return name in self.catalogs or name.startswith(self.beginnings)


@dataclass(frozen=True, slots=True)
class FilePolicy:
    """The content of a policy file. Satisfies `Policy`."""

    rights: Mapping[str, Rights]
    by_certificate_name: Mapping[str, str] = field(default_factory=dict)
    """Name in a certificate -> principal."""
    by_subject: Mapping[str, str] = field(default_factory=dict)
    """`sub` claim of a token -> principal."""
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    """Principal -> quota, for those that have one."""

    @property
    def allows_anonymous(self) -> bool:
        """True if calls without a credential are admitted, as the principal `anonymous`."""
        return ANONYMOUS.name in self.rights

    def admit(self, caller: Caller) -> Decision:
        """See `Policy`."""
        rights = self.rights.get(caller.principal.name)
        if rights is None:
            return UNKNOWN
        return METHOD_ALLOWED if caller.method in rights.methods else METHOD_DENIED

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        """See `Policy`."""
        decision = self.decide_lane(caller, lane)
        if decision.allowed and not self.rights[caller.principal.name].covers(catalog):
            return CATALOG_DENIED
        return decision

    def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
        """See `Policy`."""
        admitted = self.admit(caller)
        if not admitted.allowed:
            return admitted
        return ALLOWED if lane in self.rights[caller.principal.name].lanes else LANE_DENIED

    def quota_of(self, principal: str) -> Quota:
        """The quota of a principal; `NO_QUOTA` itself for one without."""
        return self.quotas.get(principal, NO_QUOTA)


ALLOWED = Decision(True, "by the policy")
METHOD_ALLOWED = Decision(True, "by the policy", Subject.METHOD)
METHOD_DENIED = Decision(False, "the method is not in the policy of the principal", Subject.METHOD)
LANE_DENIED = Decision(False, "the lane is not in the policy of the principal", Subject.LANE)
CATALOG_DENIED = Decision(False, "the catalog is not in the policy of the principal")
UNKNOWN = Decision(False, "the policy has no such principal", Subject.METHOD)


def parse_policy(content: bytes) -> FilePolicy:
    """The policy in `content`. Raises `SightlineError` of kind CONFIGURATION that names what is wrong."""
    try:
        tables = PolicyTables.model_validate(tomllib.loads(content.decode()))
    except UnicodeDecodeError as error:
        raise unusable("it is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise unusable(f"it is not TOML: {error}") from error
    except RecursionError as error:
        raise unusable("it is nested too deeply") from error
    except ValidationError as error:
        raise unusable(first_problem(error)) from error
    principals = tables.principals
    anonymous = principals.get(ANONYMOUS.name)
    if anonymous is not None and (anonymous.certificates or anonymous.subjects):
        raise unusable("principals.anonymous is for calls without a credential; it has no certificates and no subjects")
    return FilePolicy(
        {name: rights_of(table) for name, table in principals.items()},
        owners({name: table.certificates for name, table in principals.items()}, "certificates"),
        owners({name: table.subjects for name, table in principals.items()}, "subjects"),
        quotas_of(tables),
    )


def quotas_of(tables: PolicyTables) -> dict[str, Quota]:
    """Principal -> quota, its own or the default one. Raises `SightlineError` for more than can be counted."""
    default = tables.default_quota.quota
    given = {name: table.quota.quota if table.quota else default for name, table in tables.principals.items()}
    quotas = {name: quota for name, quota in given.items() if quota is not NO_QUOTA}
    if len(quotas) > MOST_PRINCIPALS:
        raise unusable(f"{len(quotas)} principals have a quota; expected at most {MOST_PRINCIPALS}")
    return quotas


def rights_of(table: PrincipalTable) -> Rights:
    """The rights that a table gives."""
    return Rights(
        catalogs=frozenset(word for word in table.catalogs if not word.endswith(EVERY)),
        beginnings=tuple(word[:-1] for word in table.catalogs if word.endswith(EVERY)),
        methods=frozenset[str]().union(*(methods_named(word) for word in table.methods)),
        lanes=frozenset(LANES[word] for word in table.lanes),
    )


def owners(credentials: Mapping[str, list[str]], key: str) -> dict[str, str]:
    """Credential -> principal. Raises `SightlineError` where two principals have the same one."""
    owner: dict[str, str] = {}
    for principal, names in credentials.items():
        for name in names:
            if owner.setdefault(name, principal) != principal:
                raise unusable(f"principals.{principal}.{key}: {name!r} belongs to {owner[name]} already")
    return owner


def check_catalogs(policy: FilePolicy, names: tuple[str, ...]) -> None:
    """Raises `SightlineError` for a catalog of the policy that is not one of `names`."""
    for principal, rights in policy.rights.items():
        for catalog in sorted(rights.catalogs - set(names)):
            raise unusable(
                f"principals.{principal}.catalogs: this server has no catalog {catalog!r}; it has {', '.join(names)}"
            )


def first_problem(error: ValidationError) -> str:
    """The first error, with its key in the file."""
    first: Any = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown name; expected one of {', '.join(table_at(first['loc'][:-1]).model_fields)}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"


def table_at(keys: tuple[str | int, ...]) -> type[BaseModel]:
    """The kind of the table with these keys."""
    match keys:
        case ():
            return PolicyTables
        case ("default_quota",) | ("principals", _, "quota"):
            return QuotaTable
        case _:
            return PrincipalTable


def unusable(reason: str) -> SightlineError:
    """The error of a policy that cannot be used."""
    return SightlineError(ErrorKind.CONFIGURATION, reason)
