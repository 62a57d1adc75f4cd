"""The panels of the operator's dashboard; `scripts/dashboard.py` writes the file.

Rule: a panel answers one question that an SRE asks, its description says what is good, and every expression is a metric
of `docs/operate/metrics.md`, of Triton, or a recording rule. `tests/integration/test_prometheus.py` runs each of them.
"""

from scripts.dashboard_panels.batching import BATCHES, QUEUES
from scripts.dashboard_panels.calls import ERRORS, LATENCY, OVERVIEW, TRAFFIC
from scripts.dashboard_panels.catalogs import IN_MILVUS, OBJECTIVES, REPLICAS, WRITES
from scripts.dashboard_panels.engine import ENGINE, INDEX
from scripts.dashboard_panels.machine import AUDIT, GPU, SATURATION, WORKERS
from scripts.dashboard_panels.panel import Row

ROWS: tuple[Row, ...] = (
    OVERVIEW,
    TRAFFIC,
    ERRORS,
    LATENCY,
    QUEUES,
    BATCHES,
    ENGINE,
    INDEX,
    OBJECTIVES,
    WRITES,
    IN_MILVUS,
    REPLICAS,
    SATURATION,
    WORKERS,
    AUDIT,
    GPU,
)
