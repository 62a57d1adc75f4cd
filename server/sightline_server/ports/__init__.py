"""The seams of the server: what the core needs of the engine, the index and the telemetry.

Rule: Protocols only. The implementations are in `triton/`, `embedded/`, `index/` and `telemetry/`; `app/` joins them.
"""

from sightline_server.ports.catalogs import Catalogs, CodedProducts, ImageFeatures, Snapshot
from sightline_server.ports.engine import Clock, EmbeddedChecks, Engine, ModelRunner, Models, SharedEngine
from sightline_server.ports.writing import CatalogWriter, ImageEmbedder, ImageEmbedders, LivingObserver, unchecked

__all__ = [
    "CatalogWriter",
    "Catalogs",
    "Clock",
    "CodedProducts",
    "EmbeddedChecks",
    "Engine",
    "ImageEmbedder",
    "ImageEmbedders",
    "ImageFeatures",
    "LivingObserver",
    "ModelRunner",
    "Models",
    "SharedEngine",
    "Snapshot",
    "unchecked",
]
