"""Every metric of the server: those of calls, catalogs and access here, those of other subjects in modules of theirs.

`docs/operate/metrics.md` is their table.
Rule: histograms and counters that can be summed over replicas, labels of few values, and nothing that depends on what
a photo shows. Each gauge states how the values of several workers are combined: sum, minimum or maximum.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from sightline_server.access.grants.valkey_store import REASONS
from sightline_server.telemetry.batches import BatchSeries
from sightline_server.telemetry.buckets import COMMIT_BUCKETS, QUEUE_BUCKETS, STAGE_BUCKETS
from sightline_server.telemetry.engine import EngineSeries
from sightline_server.telemetry.living import LivingSeries
from sightline_server.telemetry.making import Maker
from sightline_server.telemetry.replication import ReplicationSeries

BUILD_LABELS = ("sightline", "grpcio", "protobuf", "numpy", "tritonclient", "pylance", "detector", "embedder")


class Metrics:
    """The metric objects and their registry; one instance a process.

    `batches`, `engine`, `replication` and `living` are the metrics of these subjects.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        make = Maker(self.registry)
        self.requests = make.counter("requests", "Calls by method and gRPC code.", "method", "code")
        self.request_seconds = make.histogram(
            "request_seconds",
            "Seconds from a call's headers to its end, its upload included.",
            STAGE_BUCKETS,
            "method",
            "code",
        )
        self.refusal_seconds = make.histogram(
            "refusal_seconds", "Seconds from a request's arrival to a refusal before Accepted.", QUEUE_BUCKETS, "reason"
        )
        self.refused_calls = make.counter(
            "refused_calls", "Calls refused with RESOURCE_EXHAUSTED, by the limit that they exceeded.", "limit"
        )
        self.quota_refusals = make.counter(
            "quota_refusals",
            "Calls refused with RESOURCE_EXHAUSTED because their caller's quota in the policy was used up.",
            *("principal", "quota"),
        )
        self.open_calls = make.gauge(
            "open_calls", "Searches that are open, their uploads included.", over_workers="livesum"
        )
        self.in_flight = make.gauge("in_flight", "Admitted searches that have not ended.", over_workers="livesum")
        self.request_bytes = make.gauge(
            "request_bytes", "Bytes reserved for requests that are being read, or held by them.", over_workers="livesum"
        )
        self.watches = make.gauge("watches", "Health watches that are open.", over_workers="livesum")
        self.load_reports = make.gauge("load_reports", "Streams of load reports that are open.", over_workers="livesum")
        self.concurrency_limit = make.gauge(
            "concurrency_limit", "Calls that may be admitted at once; adapts to the load.", over_workers="livesum"
        )
        self.first_result_seconds = make.histogram(
            "first_result_seconds", "Seconds from a request's arrival to the first object's event.", STAGE_BUCKETS
        )
        self.stage_seconds = make.histogram(
            "stage_seconds", "Seconds of a call in a stage, waiting for its batch included.", STAGE_BUCKETS, "stage"
        )
        self.left_calls = make.counter(
            "left_calls", "Calls that were cancelled, by their caller or their deadline.", "stage", "moment"
        )
        self.decode_process_ends = make.counter(
            "decode_process_ends", "Decode processes that ended while they decoded a photo, by reason.", "reason"
        )
        self.filtered_searches = make.counter(
            "filtered_searches",
            "Calls with a filter, by the way in which the index is searched under it.",
            *("catalog", "plan"),
        )
        self.objects = make.counter("objects", "Objects by outcome.", "outcome")
        self.codes = make.counter(
            "codes",
            "Barcodes and QR codes with a GTIN in photos, and calls whose codes were not read, by outcome.",
            "outcome",
        )
        self.feature_checks = make.counter(
            "feature_checks", "Objects whose local features were to be compared with products, by outcome.", "outcome"
        )
        self.text_checks = make.counter(
            "text_checks", "Objects whose printed text was to be read and compared, by outcome.", "outcome"
        )
        self.second_rounds = make.counter(
            "second_rounds", "Second rounds that callers asked for, by outcome.", "outcome"
        )
        self.batches = BatchSeries(make)
        self.engine = EngineSeries(make)
        self.catalog_products = make.gauge(
            "catalog_products", "Products of the served revision.", "catalog", over_workers="livemin"
        )
        self.index_recall = make.gauge(
            "index_recall",
            "recall@10 of the index against exact search, on probes at the start.",
            "catalog",
            over_workers="livemin",
        )
        self.recall_at_10 = make.gauge(
            "recall_at_10",
            "recall@10 of the latest set of probes, searched as callers' embeddings are, against exact search.",
            "catalog",
            over_workers="livemin",
        )
        self.recall_sets = make.counter("recall_sets", "Sets of probes, by outcome.", "catalog", "outcome")
        self.catalog_info = make.gauge(
            "catalog_info",
            "1 for the served revision; 0 or absent for a replaced one.",
            *("catalog", "revision"),
            over_workers="livemax",
        )
        self.catalog_built = make.gauge(
            "catalog_built_timestamp_seconds",
            "Build time of the served revision, in Unix time.",
            "catalog",
            over_workers="livemin",
        )
        self.catalog_revisions = make.gauge(
            "catalog_revisions",
            "Revisions in memory: the served one, and replaced ones that calls still use.",
            "catalog",
            over_workers="livemax",
        )
        self.catalog_reloads = make.counter(
            "catalog_reloads", "Reloads of a catalog, by outcome.", "catalog", "outcome"
        )
        self.catalog_available = make.gauge(
            "catalog_available",
            "1 while the Milvus that holds a catalog answers and has a right revision; else 0.",
            "catalog",
            over_workers="livemin",
        )
        self.milvus_call_seconds = make.histogram(
            "milvus_call_seconds", "Seconds of calls of Milvus, by kind.", STAGE_BUCKETS, "catalog", "call"
        )
        self.milvus_failures = make.counter(
            "milvus_failures", "Calls of Milvus that failed or took too long, by kind.", "catalog", "call"
        )
        self.build = make.gauge(
            "build_info", "1, with the versions of the packages and the models.", *BUILD_LABELS, over_workers="livemax"
        )
        self.tls_files_usable = make.gauge(
            "tls_files_usable",
            "0 while the TLS files on disk cannot be used; else 1.",
            over_workers="livemin",
        )
        self.access_files_usable = make.gauge(
            "access_files_usable",
            "0 while a file of access on disk cannot be used: the policy, the API keys or the JWKS; else 1.",
            "file",
            over_workers="livemin",
        )
        self.audit_records = make.counter("audit_records", "Records of the audit log that are on the disk.")
        self.audit_commit_seconds = make.histogram(
            "audit_commit_seconds", "Seconds in which a group of audit records was brought to the disk.", COMMIT_BUCKETS
        )
        self.audit_failures = make.counter("audit_failures", "Audit records that could not be written.")
        self.audit_usable = make.gauge(
            "audit_usable", "0 while the audit log cannot be written; else 1.", over_workers="livemin"
        )
        self.grant_store_seconds = make.histogram(
            "grant_store_seconds", "Seconds in which the Valkey server noted the use of a grant.", QUEUE_BUCKETS
        )
        self.grant_store_failures = make.counter(
            "grant_store_failures", "Grants that were refused because the Valkey server failed, by reason.", "reason"
        )
        for reason in REASONS:
            self.grant_store_failures.labels(reason)
        self.workers_wanted = make.gauge(
            "workers_wanted", "Processes that should serve on the port.", over_workers="livemax"
        )
        self.workers = make.gauge("workers", "Processes that serve on the port.", over_workers="livemax")
        self.worker_restarts = make.counter("worker_restarts", "Workers that ended unexpectedly and were restarted.")
        self.worker_cpu = make.counter("worker_cpu_seconds", "CPU seconds of a worker's process.", "worker")
        self.worker_memory = make.gauge(
            "worker_resident_memory_bytes", "Resident memory of a worker.", "worker", over_workers="livemax"
        )
        self.worker_descriptors = make.gauge(
            "worker_open_fds", "File descriptors that a worker has open.", "worker", over_workers="livemax"
        )
        # The parent of workers writes no audit log and takes no connections: its 0 would be the least of all.
        for usable in (self.tls_files_usable, self.audit_usable):
            usable.set(1)
        self.replication = ReplicationSeries(make)
        self.living = LivingSeries(make, products=self.catalog_products, built=self.catalog_built)

    def access_file(self, name: str, usable: bool) -> None:
        """Reports whether the file of access `name` can be used."""
        self.access_files_usable.labels(name).set(usable)

    def grant_store_answered(self, seconds: float) -> None:
        """See `StoreObserver`."""
        self.grant_store_seconds.observe(seconds)

    def grant_store_failed(self, reason: str) -> None:
        """See `StoreObserver`."""
        self.grant_store_failures.labels(reason).inc()

    def limited(self, principal: str, kinds: Iterable[str]) -> None:
        """Makes the counters of a principal whose quota has bounds of these kinds."""
        for kind in kinds:
            self.quota_refusals.labels(principal, kind)
