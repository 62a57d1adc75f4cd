"""The quota of pseudonyms of a process, from the settings, and the keys that its names are made with.

Rule: one process makes the keys: a server of one process, or the parent of workers, which read them.
"""

from contextlib import AsyncExitStack

from sightline_server.access.quotas.keys import PseudonymKeys
from sightline_server.access.quotas.photos import PhotoQuota, empty_after_s
from sightline_server.access.quotas.quota import Rate
from sightline_server.access.quotas.tables import QuotaTables
from sightline_server.app.access import OnLimited
from sightline_server.app.background import keep_running
from sightline_server.app.clock import clock
from sightline_server.settings import PseudonymQuotaSettings


def photo_quota(settings: PseudonymQuotaSettings, tables: QuotaTables, on_limited: OnLimited) -> PhotoQuota | None:
    """The quota, counted in `tables`; None where the settings have none."""
    rate = rate_of(settings)
    return None if rate is None else PhotoQuota(rate, tables, clock=clock, on_limited=on_limited)


def keep_pseudonym_keys(stack: AsyncExitStack, keys: PseudonymKeys, settings: PseudonymQuotaSettings) -> None:
    """Makes a key each hour until `stack` ends; none where the settings have no quota."""
    if (rate := rate_of(settings)) is not None:
        keep_running(stack, keys.keep_renewing(empty_after_s(rate)), "pseudonym-keys")


def rate_of(settings: PseudonymQuotaSettings) -> Rate | None:
    """The rate of photos; None without one."""
    return Rate(settings.photos_per_minute, settings.at_once) if settings.photos_per_minute else None
