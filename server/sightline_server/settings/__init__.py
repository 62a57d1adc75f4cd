"""Every setting of the server, a module for each group.

Rule: settings are frozen, read once by `cli/loading.py` and handed down in groups. The variable of a setting joins
group and name by two underscores: `SIGHTLINE_LIMITS__MAX_PHOTO_BYTES`.
"""

from sightline_server.settings.access import AccessSettings
from sightline_server.settings.audit import AuditSettings
from sightline_server.settings.batching import BatchingSettings, BatchSettings
from sightline_server.settings.catalogs import CatalogSettings, IndexSettings, ServedCatalogSettings
from sightline_server.settings.codes import CodeSettings
from sightline_server.settings.consent import ConsentSettings
from sightline_server.settings.decode import DecodeSettings, PhotoFormat
from sightline_server.settings.detection import DetectionSettings
from sightline_server.settings.engine import EngineSettings
from sightline_server.settings.limits import REQUEST_ALLOWANCE, LimitSettings
from sightline_server.settings.local_features import LocalFeatureSettings
from sightline_server.settings.part import Part
from sightline_server.settings.printed_text import PrintedTextSettings
from sightline_server.settings.pseudonym_quota import PseudonymQuotaSettings
from sightline_server.settings.ranking import RankingSettings
from sightline_server.settings.root import Settings
from sightline_server.settings.server import ServerSettings
from sightline_server.settings.telemetry import LogSettings, TracingSettings
from sightline_server.settings.transfer import TransferSettings
from sightline_server.settings.valkey import ValkeySettings

__all__ = [
    "REQUEST_ALLOWANCE",
    "AccessSettings",
    "AuditSettings",
    "BatchSettings",
    "BatchingSettings",
    "CatalogSettings",
    "CodeSettings",
    "ConsentSettings",
    "DecodeSettings",
    "DetectionSettings",
    "EngineSettings",
    "IndexSettings",
    "LimitSettings",
    "LocalFeatureSettings",
    "LogSettings",
    "Part",
    "PhotoFormat",
    "PrintedTextSettings",
    "PseudonymQuotaSettings",
    "RankingSettings",
    "ServedCatalogSettings",
    "ServerSettings",
    "Settings",
    "TracingSettings",
    "TransferSettings",
    "ValkeySettings",
]
