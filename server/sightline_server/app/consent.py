"""The checks of consent of a process from its settings, and the files of access that it watches together.

    JWKS of the consent service -> FileInUse -> Consent, with the store of used grants
Rule: without a catalog that takes grants there is no file, no store and no library for signatures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sightline_server.access.file_in_use import FileInUse
from sightline_server.access.grants.claims import GrantRules
from sightline_server.access.grants.consent import Consent, ConsentMode, Demands, GrantReader, UsedGrants
from sightline_server.access.quotas.photos import PhotoQuota
from sightline_server.app.access import AccessFiles, OnCheck, ignore
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import ConsentSettings, Settings

GRANTS_JWKS = "grants_jwks"
"""Name of the file in metrics, in log lines, and in what a worker inherits."""
GrantFile = FileInUse[GrantReader]


def demands_of(settings: Settings) -> Demands:
    """The consent that each catalog needs."""
    own = {name: ConsentMode(mode) for name, mode in settings.consent_of.items()}
    return Demands(ConsentMode(settings.consent.mode), own)


def takes_grants(settings: Settings) -> bool:
    """Returns whether any catalog takes grants."""
    return {settings.consent.mode, *settings.consent_of.values()} != {"off"}


def rules_of(consent: ConsentSettings) -> GrantRules:
    """The rules for the claims of grants."""
    return GrantRules(consent.issuer, consent.audience, consent.leeway_s, consent.longest_s)


def open_grant_file(
    settings: Settings, *, initial: Mapping[str, bytes] | None = None, on_check: OnCheck = ignore
) -> GrantFile | None:
    """The keys of the consent service; None where no catalog takes grants.

    `initial` has the content that a parent found good. Raises `SightlineError` of kind CONFIGURATION.
    """
    path = settings.consent.jwks_file
    if path is None or not takes_grants(settings):
        return None
    return FileInUse(
        *(GRANTS_JWKS, path, grant_parser(settings.consent)),
        initial=(initial or {}).get(GRANTS_JWKS),
        on_check=partial(on_check, GRANTS_JWKS),
    )


def grant_parser(consent: ConsentSettings) -> Callable[[bytes], GrantReader]:
    """The function that reads a JWKS. Raises `SightlineError` where the package for signatures is not installed."""
    try:
        from sightline_server.access.grants.verifying import parse_grant_keys
    except ImportError as error:
        message = 'setting consent.jwks_file needs joserfc: pip install "sightline[jwt]"'
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    return partial(parse_grant_keys, rules=rules_of(consent))


def make_consent(settings: Settings, file: GrantFile, used: UsedGrants, photos: PhotoQuota | None) -> Consent:
    """The checks of one process that takes grants: `used` notes those that were used, `photos` counts pseudonyms."""
    leeway_s = settings.consent.leeway_s
    return Consent(demands_of(settings), lambda: file.value, used, leeway_s=leeway_s, photos=photos)


@dataclass(frozen=True, slots=True)
class WatchedFiles:
    """Every file of access that a process reads again when it changes."""

    files: tuple[FileInUse[Any], ...]

    @property
    def contents(self) -> dict[str, bytes]:
        """The bytes in use of each file by its name, for a worker that starts while a file is broken."""
        return {each.name: each.contents for each in self.files}

    def check(self, *, force: bool = False) -> None:
        """Reads the files that have changed, or all of them with `force`. Blocks on the disk; never raises."""
        for each in self.files:
            each.check(force=force)


def watched_files(access: AccessFiles | None, grants: GrantFile | None) -> WatchedFiles | None:
    """The files together; None where there are none."""
    files = (*(() if access is None else access.files), *(() if grants is None else (grants,)))
    return WatchedFiles(files) if files else None
