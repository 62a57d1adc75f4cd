"""Checks of the catalogs in Milvus, for `sightline doctor`.

Rule: one finding each. A server starts without a catalog whose Milvus is away, so that is a WARN; it does not start
without the package pymilvus.
"""

from collections.abc import Iterator

from sightline_server.counting import counted
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.settings import Settings
from sightline_server.settings.catalogs import ServedCatalogSettings

CALL_S = 5.0


def milvus_catalogs(settings: Settings) -> Iterator[Check]:
    """The findings about the catalogs in Milvus; none where the settings name none."""
    for name, part in settings.milvus_catalogs.items():
        yield milvus_catalog(name, part)


def milvus_catalog(name: str, part: ServedCatalogSettings) -> Check:
    """The finding about one catalog: whether its Milvus answers, its version, and what it has of the catalog."""
    what, address = f"catalog {name}", part.uri.rpartition("@")[2]
    try:
        from sightline_server.index.milvus.client import Milvus
        from sightline_server.index.milvus.inspecting import state_in
    except ImportError:
        return Check(what, Verdict.FAIL, "the package pymilvus is not installed", "pip install 'sightline[milvus]'")
    try:
        token = part.token_file.read_text("utf-8").strip() if part.token_file else ""
        milvus = Milvus(part.uri, token=token, ca_file=str(part.ca_file or ""), call_s=CALL_S)
    except OSError as error:
        return Check(what, Verdict.WARN, f"its token file cannot be read: {error.strerror or error}", "")
    except SightlineError:
        found = f"Milvus at {address} does not answer within {CALL_S:g} s, or refuses the token"
        return Check(what, Verdict.WARN, found, "its calls get UNAVAILABLE until then: docs/operate/milvus.md")
    try:
        state = state_in(milvus, name)
    except SightlineError as error:
        return Check(what, Verdict.WARN, f"Milvus at {address}: {error.message}", "docs/operate/milvus.md")
    finally:
        milvus.close()
    if state.collection is None:
        found = f"Milvus {state.version} at {address} has no alias {state.alias}"
        return Check(what, Verdict.WARN, found, f"sightline catalog push {name} --to milvus --uri {address}")
    size = f"{counted(state.products, 'product')}, {counted(state.images, 'image')}"
    found = f"Milvus {state.version} at {address}: {state.alias} names {state.collection}, {size}"
    if part.path is not None and not state.writable:
        hint = f"push it with --writable, so that this server can write to it: sightline catalog push {name}"
        return Check(what, Verdict.WARN, f"{found}, not writable", hint)
    return Check(what, Verdict.OK, found, f"it is being changed by {state.holder}" if state.holder else "")
