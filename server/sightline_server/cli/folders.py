"""Checks of the folders that a server writes to and reads from, for `sightline doctor`.

Rule: one finding each; they inspect and change nothing, so no lock is taken.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from sightline_server.counting import counted
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.settings import Settings

READ, WRITE = os.R_OK | os.X_OK, os.R_OK | os.W_OK | os.X_OK


def folders(settings: Settings) -> Iterator[Check]:
    """The findings about the folders that the settings name; none for those that they do not name."""
    if (root := settings.server.catalogs_folder) is not None:
        yield catalogs_folder(settings, root)
    for name, share in settings.followed_catalogs.items():
        yield followed_folder(name, share, settings.catalog_folders[name])
    for name, share in settings.published_catalogs.items():
        yield share_folder(f"catalog {name}, publish", share, WRITE, "write to")
    if (log := settings.audit.folder) is not None:
        yield audit_folder(log)
    transfer = settings.transfer
    if transfer.import_folder is not None:
        yield transfer_folder("import folder", transfer.import_folder, READ, "read")
    if transfer.export_folder is not None:
        yield transfer_folder("export folder", transfer.export_folder, WRITE, "write to")


def catalogs_folder(settings: Settings, root: Path) -> Check:
    """The finding about the folder of catalogs that callers create; FAIL where `serve` refuses it."""
    # They load Lance, which `sightline doctor` does without where no such folder is set.
    from sightline_server.app.catalog_changes import catalogs_in
    from sightline_server.app.checks import check_catalogs_folder

    name = "catalogs folder"
    try:
        check_catalogs_folder(settings.server)
        found = catalogs_in(root, settings.catalog_folders)
        if not os.access(root, WRITE):
            return Check(name, Verdict.FAIL, f"this user cannot write to {root}", "chown or chmod the folder")
    except SightlineError as error:
        return Check(name, Verdict.FAIL, error.message)
    return Check(name, Verdict.OK, f"{counted(len(found), 'catalog')} in {root}")


def followed_folder(name: str, share: Path, copy: Path) -> Check:
    """The finding about a catalog that follows a writer: the source, and the folder that will have the copy."""
    parent = next(each for each in copy.absolute().parents if each.exists())
    if not os.access(parent, WRITE):
        found = f"this user cannot write to {parent}, which will have the copy"
        return Check(f"catalog {name}, follow", Verdict.FAIL, found, "chown or chmod the folder")
    return share_folder(f"catalog {name}, follow", share, READ, "read")


def share_folder(name: str, share: Path, rights: int, verb: str) -> Check:
    """The finding about a folder of published revisions; `serve` starts without it where it has a copy."""
    if not share.is_dir():
        return Check(name, Verdict.WARN, f"{share} is not a folder", "make it, or mount it")
    if not os.access(share, rights):
        return Check(name, Verdict.WARN, f"this user cannot {verb} {share}", "chown or chmod the folder")
    return Check(name, Verdict.OK, str(share))


def audit_folder(path: Path) -> Check:
    """The finding about the folder of the audit log, which `serve` makes; FAIL where `serve` cannot write to it."""
    found = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not found.is_dir() or not os.access(found, WRITE):
        return Check("audit log", Verdict.FAIL, f"this user cannot write to {found}", "chown or chmod the folder")
    return Check("audit log", Verdict.OK, str(path))


def transfer_folder(name: str, path: Path, rights: int, verb: str) -> Check:
    """The finding about a folder of imports or exports; without it the server starts, and refuses such calls."""
    if not path.is_dir():
        return Check(name, Verdict.WARN, f"{path} is not a folder", f"make it, or change transfer.{name[:6]}_folder")
    if not os.access(path, rights):
        return Check(name, Verdict.WARN, f"this user cannot {verb} {path}", "chown or chmod the folder")
    return Check(name, Verdict.OK, str(path))
