"""What stands on the SRE's dashboard; `dashboard.py` makes the file of it.

Rule: a panel answers one question that an SRE asks, its description says what is good, and every expression is a metric
of `docs/metrics.md`, of Triton, or a recording rule. `tests/integration/test_prometheus.py` runs each of them. It is
long because it is a table.
"""

from dataclasses import dataclass
from typing import Any

GPU_ROW = "GPU (a Triton of your own)"
"""The only row that is empty on a machine without a GPU."""

OURS = 'instance=~"$instance"'
OK, NOT_OK = 'code="OK"', 'code!="OK"'
DECODE, SEARCH = 'stage="decode"', 'stage="search"'
QUERIES = 'batcher="queries"'
SERVER = f'{{job="sightline", {OURS}}}'


@dataclass(frozen=True, slots=True)
class Query:
    """One expression and what its lines are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One question: its title, what a good answer looks like, and the queries that answer it."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    red_from: float | None = None
    """A threshold, drawn as a line."""
    good: bool | None = None
    """For a stat of 0 and 1: which of them is green."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str, *matchers: str) -> str:
    """The rate of a counter over the chosen replicas, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{', '.join((OURS, *matchers))}}}[$__rate_interval]))"


def quantiles(metric: str, *ranks: float, by: str = "", legend: str = "") -> tuple[Query, ...]:
    """Quantiles of a histogram over all chosen replicas."""
    labels = f"{by}, le" if by else "le"
    return tuple(
        Query(f"histogram_quantile({rank}, {rate(f'{metric}_bucket', labels)})", f"{legend} p{rank * 100:g}".strip())
        for rank in ranks
    )


def mean(metric: str, by: str) -> str:
    """The mean of a histogram's observations."""
    return f"{rate(f'{metric}_sum', by)} / {rate(f'{metric}_count', by)}"


def stat(title: str, description: str, unit: str, expr: str, **more: Any) -> Panel:
    """A single figure."""
    return Panel(title, description, unit, (Query(expr),), kind="stat", width=4, **more)


OVERVIEW = Row(
    "Now",
    (
        stat(
            "Calls",
            "Calls a second, refused ones included.",
            "reqps",
            f"sum({rate('sightline_requests_total', 'job')})",
        ),
        stat(
            "Failed by our fault, 1 h",
            "UNAVAILABLE and INTERNAL among the calls that were ours to answer. The budget is 0.1 %.",
            "percentunit",
            "max(job:sightline_unavailable:ratio_rate1h)",
            red_from=0.001,
        ),
        stat(
            "First results over 1 s, 1 h",
            "The budget is 5 %.",
            "percentunit",
            "max(job:sightline_first_result_slow:ratio_rate1h)",
            red_from=0.05,
        ),
        stat(
            "Refused, 5 min",
            "RESOURCE_EXHAUSTED among the calls that were ours to answer: more is asked than fits.",
            "percentunit",
            "max(job:sightline_refused:ratio_rate5m)",
            red_from=0.05,
        ),
        stat(
            "Replicas with an engine",
            "Replicas whose models answer; should be all of them.",
            "short",
            f"sum(sightline_engine_ready{{{OURS}}})",
        ),
        stat(
            "Age of the oldest catalog",
            "Time since the served revision was built.",
            "s",
            f"time() - min(sightline_catalog_built_timestamp_seconds{{{OURS}}})",
            red_from=2 * 24 * 3600,
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Calls by code",
            "Every call, by the gRPC code that it ended with.",
            "reqps",
            (Query(f"{rate('sightline_requests_total', 'code')} > 0", "{{code}}"),),
            stacked=True,
        ),
        Panel(
            "Objects by outcome",
            "Objects that were looked up in the catalog; anything but `searched` is a model's wrong answer.",
            "cps",
            (Query(rate("sightline_objects_total", "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Objects per answered call",
            "What one call costs the embedder; it moves with the photos, not with the server.",
            "short",
            (
                Query(
                    f"sum({rate('sightline_objects_total', 'job')})"
                    f" / sum({rate('sightline_first_result_seconds_count', 'job')})",
                    "objects",
                ),
            ),
        ),
    ),
)

ERRORS = Row(
    "Errors",
    (
        Panel(
            "Calls that did not end well",
            "UNAVAILABLE and INTERNAL are ours, RESOURCE_EXHAUSTED is load, the others are the callers'.",
            "reqps",
            (
                Query(
                    f"{rate('sightline_requests_total', 'code', NOT_OK)} > 0",
                    "{{code}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Burn rate of the availability budget",
            "1 uses up the month's budget exactly; 14.4 for an hour pages.",
            "short",
            (
                Query("job:sightline_unavailable:ratio_rate5m / 0.001", "{{job}} 5 min"),
                Query("job:sightline_unavailable:ratio_rate1h / 0.001", "{{job}} 1 h"),
                Query("job:sightline_unavailable:ratio_rate6h / 0.001", "{{job}} 6 h"),
            ),
            red_from=14.4,
        ),
        Panel(
            "Burn rate of the latency budget",
            "1 uses up the month's budget exactly; 14.4 for an hour pages.",
            "short",
            (
                Query("job:sightline_first_result_slow:ratio_rate5m / 0.05", "{{job}} 5 min"),
                Query("job:sightline_first_result_slow:ratio_rate1h / 0.05", "{{job}} 1 h"),
                Query("job:sightline_first_result_slow:ratio_rate6h / 0.05", "{{job}} 6 h"),
            ),
            red_from=14.4,
        ),
        Panel(
            "Refusals before Accepted, by reason",
            "OVERLOADED is load; INVALID_IMAGE and the like are the callers'.",
            "reqps",
            (Query(f"{rate('sightline_refusal_seconds_count', 'reason')} > 0", "{{reason}}"),),
            stacked=True,
            width=12,
        ),
        Panel(
            "Seconds to a refusal",
            "OVERLOADED should stay under 10 ms. An INVALID_IMAGE takes as long as its bytes take to read.",
            "s",
            quantiles("sightline_refusal_seconds", 0.99, by="reason", legend="{{reason}}"),
            width=12,
        ),
    ),
)

LATENCY = Row(
    "Latency by stage",
    (
        Panel(
            "First result",
            "From the handler's entry to the first object's answer: what a person waits for. Should stay under 1 s.",
            "s",
            quantiles("sightline_first_result_seconds", 0.5, 0.95, 0.99),
            red_from=1.0,
        ),
        Panel(
            "Whole call, answered ones",
            "From the handler's entry to the end, a slow reader's time included.",
            "s",
            tuple(
                Query(
                    f"histogram_quantile({rank}, {rate('sightline_request_seconds_bucket', 'le', OK)})",
                    f"p{rank * 100:g}",
                )
                for rank in (0.5, 0.95, 0.99)
            ),
        ),
        Panel(
            "Mean seconds of a call by stage",
            "Where the time goes, waiting for a batch included. The stack is a call's mean.",
            "s",
            (
                Query(
                    f"{rate('sightline_stage_seconds_sum', 'stage')} / on () group_left ()"
                    f" sum({rate('sightline_stage_seconds_count', 'stage', DECODE)})",
                    "{{stage}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "p95 by stage",
            "The stage that grows first is the one to look at.",
            "s",
            quantiles("sightline_stage_seconds", 0.95, by="stage", legend="{{stage}}"),
            width=24,
        ),
    ),
)

QUEUES = Row(
    "Queues",
    (
        Panel(
            "Wait for a place in a batch",
            "Grows with load until the admission refuses. Half a second is half of the target.",
            "s",
            quantiles("sightline_queue_seconds", 0.5, 0.9, by="batcher", legend="{{batcher}}"),
            red_from=0.5,
        ),
        Panel(
            "Items waiting",
            "Items left over when the latest batch was formed. 0 when the device keeps up.",
            "short",
            (Query(f"sum by (batcher) (sightline_queue_items{{{OURS}}})", "{{batcher}}"),),
        ),
        Panel(
            "Items that left a queue without being run",
            "cancelled: the caller left; expired: no time left; full: no room.",
            "cps",
            (Query(rate("sightline_dropped_items_total", "batcher, reason"), "{{batcher}} {{reason}}"),),
        ),
    ),
)

BATCHES = Row(
    "Batches",
    (
        Panel(
            "Mean items in a batch",
            "Rises with load: that is what makes the device efficient. 1 under load means that nothing is shared.",
            "short",
            (Query(mean("sightline_batch_size", "batcher"), "{{batcher}}"),),
        ),
        Panel(
            "Batches",
            "Calls of the models and of the index a second.",
            "cps",
            (Query(rate("sightline_batch_size_count", "batcher"), "{{batcher}}"),),
        ),
        Panel(
            "Items that ran for nobody",
            "Their callers had left. A device that works for nobody is capacity lost.",
            "percentunit",
            (
                Query(
                    f"{rate('sightline_wasted_items_total', 'batcher')}"
                    f" / {rate('sightline_batch_size_sum', 'batcher')}",
                    "{{batcher}}",
                ),
            ),
            red_from=0.1,
        ),
        Panel(
            "Calls that were left",
            "Cancelled by their caller or their deadline, by the stage that they were waiting for, in, or just past.",
            "cps",
            (Query(rate("sightline_left_calls_total", "stage, moment"), "{{moment}} {{stage}}"),),
        ),
    ),
)

ENGINE = Row(
    "Engine",
    (
        Panel(
            "Ready",
            "1 while both models answer.",
            "short",
            (Query(f"sightline_engine_ready{{{OURS}}}", "{{instance}}"),),
            kind="stat",
            width=6,
            good=True,
        ),
        Panel(
            "Mends in the last hour",
            "reload: one model was loaded again; restart: the whole engine was started again. Should be 0.",
            "short",
            (Query(f"sum by (kind) (increase(sightline_engine_restarts_total{{{OURS}}}[1h]))", "{{kind}}"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Provider",
            "What runs each model; `remote` for a Triton of your own, which says it itself.",
            "short",
            (
                Query(
                    f"count by (model, provider) (sightline_engine_provider{{{OURS}}} == 1)",
                    "{{model}}: {{provider}}",
                ),
            ),
            kind="stat",
            width=6,
        ),
        Panel(
            "Transport",
            "shm on one machine. inline there means that shared memory was refused: see the start of the log.",
            "short",
            (
                Query(
                    f"count by (model, transport) (sightline_triton_transport{{{OURS}}} == 1)",
                    "{{model}}: {{transport}}",
                ),
            ),
            kind="stat",
            width=6,
        ),
        Panel(
            "Triton: items and executions",
            "Items per execution is the batch that the model really saw.",
            "cps",
            (
                Query("sum by (model) (rate(nv_inference_count[$__rate_interval]))", "{{model}} items"),
                Query("sum by (model) (rate(nv_inference_exec_count[$__rate_interval]))", "{{model}} executions"),
            ),
        ),
        Panel(
            "Triton: compute per execution",
            "Without any waiting. Grows with the batch and with what else uses the device.",
            "µs",
            (
                Query(
                    "sum by (model) (rate(nv_inference_compute_infer_duration_us[$__rate_interval]))"
                    " / sum by (model) (rate(nv_inference_exec_count[$__rate_interval]))",
                    "{{model}}",
                ),
            ),
        ),
        Panel(
            "Triton: wait per request",
            "Should stay near 0: the one waiting room is in Sightline.",
            "µs",
            (
                Query(
                    "sum by (model) (rate(nv_inference_queue_duration_us[$__rate_interval]))"
                    " / sum by (model) (rate(nv_inference_request_success[$__rate_interval]))",
                    "{{model}}",
                ),
            ),
        ),
    ),
)

INDEX = Row(
    "Index",
    (
        Panel(
            "Products",
            "Products of the served revision.",
            "short",
            (Query(f"max by (catalog) (sightline_catalog_products{{{OURS}}})", "{{catalog}}"),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Replicas by revision",
            "One revision, but for the minutes of a roll-out.",
            "short",
            (
                Query(
                    f"count by (catalog, revision) (sightline_catalog_info{{{OURS}}} == 1)",
                    "{{catalog}} {{revision}}",
                ),
            ),
            kind="stat",
            width=4,
        ),
        Panel(
            "Recall of the index",
            "recall@10 against exact search, on probes at the start: the share of right neighbours that it finds.",
            "percentunit",
            (Query(f"min by (catalog) (sightline_index_recall{{{OURS}}})", "{{catalog}}"),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Search of a call",
            "Seconds of a call in the search stage, waiting included.",
            "s",
            tuple(
                Query(
                    f"histogram_quantile({rank}, {rate('sightline_stage_seconds_bucket', 'le', SEARCH)})",
                    f"p{rank * 100:g}",
                )
                for rank in (0.5, 0.99)
            ),
            width=6,
        ),
        Panel(
            "Queries in one search of the index",
            "Queries of different photos share one search.",
            "short",
            (
                Query(
                    f"sum({rate('sightline_batch_size_sum', 'job', QUERIES)})"
                    f" / sum({rate('sightline_batch_size_count', 'job', QUERIES)})",
                    "mean",
                ),
            ),
            width=6,
        ),
    ),
)

SATURATION = Row(
    "Saturation",
    (
        Panel(
            "Calls inside, and how many may be",
            "The limit adapts so that first results keep to the target; at the limit calls are refused.",
            "short",
            (
                Query(f"sum(sightline_in_flight{{{OURS}}})", "inside"),
                Query(f"sum(sightline_concurrency_limit{{{OURS}}})", "limit"),
            ),
        ),
        Panel(
            "CPU of the serving processes",
            "Cores, by worker (0: the only one). The embedded engine's processes are not in it.",
            "short",
            (
                Query(
                    f"sum by (instance, worker) (rate(sightline_worker_cpu_seconds_total{SERVER}[$__rate_interval]))",
                    "{{instance}} {{worker}}",
                ),
            ),
        ),
        Panel(
            "Memory of the serving processes",
            "Resident, by worker; the shared catalog counts in each. A steady rise is a leak.",
            "bytes",
            (Query(f"sightline_worker_resident_memory_bytes{SERVER}", "{{instance}} {{worker}}"),),
        ),
        Panel(
            "File descriptors in use",
            "Of those that the process may have.",
            "percentunit",
            (
                Query(
                    f"sightline_worker_open_fds{SERVER} / on (instance) group_left () process_max_fds{SERVER}",
                    "{{instance}} {{worker}}",
                ),
            ),
            width=24,
            red_from=0.8,
        ),
    ),
)

WORKERS = Row(
    "Workers (--workers N; one without it)",
    (
        Panel(
            "Workers that serve",
            "Should be as many as are wanted.",
            "short",
            (
                Query(f"sum by (instance) (sightline_workers{{{OURS}}})", "{{instance}} serving"),
                Query(f"sum by (instance) (sightline_workers_wanted{{{OURS}}})", "{{instance}} wanted"),
            ),
            width=12,
        ),
        Panel(
            "Workers started again in the last hour",
            "Each took its calls with it. Should be 0.",
            "short",
            (Query(f"sum by (instance) (increase(sightline_worker_restarts_total{{{OURS}}}[1h]))", "{{instance}}"),),
            width=12,
        ),
    ),
)

GPU = Row(
    GPU_ROW,
    (
        Panel(
            "GPU at work",
            "From Triton. Low under load means that the device waits for the server.",
            "percentunit",
            (Query("nv_gpu_utilization", "{{gpu_uuid}}"),),
            width=12,
        ),
        Panel(
            "GPU memory in use",
            "Of the device's, by everybody on it.",
            "percentunit",
            (Query("nv_gpu_memory_used_bytes / nv_gpu_memory_total_bytes", "{{gpu_uuid}}"),),
            width=12,
        ),
    ),
)

ROWS = (OVERVIEW, TRAFFIC, ERRORS, LATENCY, QUEUES, BATCHES, ENGINE, INDEX, SATURATION, WORKERS, GPU)
