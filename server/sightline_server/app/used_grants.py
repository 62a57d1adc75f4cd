"""The store of used grants of a process, from the settings, for the length of its exit stack.

Rule: a server of one process notes uses in its memory, unless the settings ask for a folder or for Valkey. Workers
share a folder, which their parent makes.
"""

from contextlib import AsyncExitStack

from sightline_server.access.grants.consent import UsedGrants
from sightline_server.access.grants.host_folder import used_grants_folder
from sightline_server.access.grants.host_store import HostStore
from sightline_server.access.grants.process_store import ProcessStore
from sightline_server.access.grants.valkey_store import StoreObserver
from sightline_server.app.background import keep_running
from sightline_server.app.consent import rules_of, takes_grants
from sightline_server.app.valkey import open_valkey_store
from sightline_server.settings import Settings


def open_used_grants(stack: AsyncExitStack, settings: Settings, observer: StoreObserver) -> UsedGrants:
    """The store; what it starts ends with `stack`. `observer` is for a store of another process.

    Raises `SightlineError` of kind CONFIGURATION.
    """
    consent, kept_s = settings.consent, rules_of(settings.consent).kept_s
    if consent.store == "valkey":
        return open_valkey_store(stack, settings.valkey, kept_s, observer)
    if not on_host(settings):
        return ProcessStore(kept_s, consent.store_size)
    folder = consent.store_folder or stack.enter_context(used_grants_folder())
    store = HostStore(folder, kept_s, consent.store_size)
    keep_running(stack, store.keep_sweeping(), "used-grants")
    return store


def shared_by_workers(stack: AsyncExitStack, settings: Settings) -> Settings:
    """The settings of a parent with the folder that its workers share, which ends with `stack`."""
    if not takes_grants(settings) or not on_host(settings) or settings.consent.store_folder is not None:
        return settings
    folder = stack.enter_context(used_grants_folder())
    return settings.model_copy(update={"consent": settings.consent.model_copy(update={"store_folder": folder})})


def on_host(settings: Settings) -> bool:
    """Returns whether uses are noted in a folder of this machine."""
    consent = settings.consent
    if consent.store is None:
        return settings.server.workers > 1 or consent.store_folder is not None
    return consent.store == "host"
