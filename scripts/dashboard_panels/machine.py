"""Panels of the machine: processor, memory, descriptors, workers, audit log, GPU."""

from scripts.dashboard_panels.panel import OURS, SERVER, Panel, Query, Row, rate

GPU_ROW = "GPU (external Triton)"
"""The only row that is empty on a machine without a GPU."""

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
        Panel(
            "Open searches, health watches and load reports",
            "Searches count from their first byte. Many of them with few calls inside: slow uploads, or idle calls.",
            "short",
            (
                Query(f"sum by (instance) (sightline_open_calls{{{OURS}}})", "{{instance}} searches"),
                Query(f"sum by (instance) (sightline_watches{{{OURS}}})", "{{instance}} watches"),
                Query(f"sum by (instance) (sightline_load_reports{{{OURS}}})", "{{instance}} load reports"),
            ),
            width=12,
        ),
        Panel(
            "Memory of requests",
            "Reserved by uploads and held by searches. At `limits.request_budget_bytes` uploads wait.",
            "bytes",
            (Query(f"sum by (instance) (sightline_request_bytes{{{OURS}}})", "{{instance}}"),),
            width=12,
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

AUDIT = Row(
    "Audit log (0 without one)",
    (
        Panel(
            "Audit records",
            "Those on the disk, and those that could not be written, whose calls were refused; these should be 0.",
            "short",
            (
                Query(rate("sightline_audit_records_total", "instance"), "{{instance}} written"),
                Query(rate("sightline_audit_failures_total", "instance"), "{{instance}} failed"),
            ),
            width=12,
        ),
        Panel(
            "Share of the time that the audit log waits for its disk",
            "Near 1, all calls of a process wait for the disk.",
            "percentunit",
            (Query(rate("sightline_audit_commit_seconds_sum", "instance"), "{{instance}}"),),
            width=12,
            red_from=0.8,
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
