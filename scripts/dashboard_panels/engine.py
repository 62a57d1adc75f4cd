"""Triton and the index."""

from scripts.dashboard_panels.panel import OURS, QUERIES, SEARCH, Panel, Query, Row, rate

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
            "Restarts in the last hour",
            "reload: one model was loaded again; restart: the whole engine was started again. Should be 0.",
            "short",
            (Query(f"sum by (kind) (increase(sightline_engine_restarts_total{{{OURS}}}[1h]))", "{{kind}}"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Provider and precision",
            "Execution provider of each model, `remote` for an external Triton, whose own metrics report it; and its"
            " precision on the embedded engine.",
            "short",
            (
                Query(
                    f"count by (model, provider) (sightline_engine_provider{{{OURS}}} == 1)",
                    "{{model}}: {{provider}}",
                ),
                Query(
                    f"count by (model, precision) (sightline_engine_precision{{{OURS}}} == 1)",
                    "{{model}}: {{precision}}",
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
            "Items per execution is the batch that the model really saw. Triton's compute times say little here: the"
            " embedded engine's answers are sent after the execution. See the time of a batch.",
            "cps",
            (
                Query("sum by (model) (rate(nv_inference_count[$__rate_interval]))", "{{model}} items"),
                Query("sum by (model) (rate(nv_inference_exec_count[$__rate_interval]))", "{{model}} executions"),
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
            "Revisions in memory",
            "1, but for the seconds in which calls still use a revision that was replaced. Failed reloads of the last "
            "day; they leave the old revision in place.",
            "short",
            (
                Query(f"max by (catalog) (sightline_catalog_revisions{{{OURS}}})", "{{catalog}}"),
                Query(
                    f'sum by (catalog) (increase(sightline_catalog_reloads_total{{outcome="failed", {OURS}}}[1d]))',
                    "{{catalog}} failed reloads",
                ),
            ),
            kind="stat",
            width=4,
        ),
        Panel(
            "Recall of the index",
            "recall@10 against exact search: the share of right neighbours that it finds. Live: on 16 probes each "
            "minute, through the batcher of all searches. Start: on 16 images before the revision was served.",
            "percentunit",
            (
                Query(f"min by (catalog) (sightline_recall_at_10{{{OURS}}})", "{{catalog}} live"),
                Query(f"min by (catalog) (sightline_index_recall{{{OURS}}})", "{{catalog}} start"),
            ),
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
            width=4,
        ),
        Panel(
            "Calls with a filter, by plan",
            "gather and selector are fast. exact means that the index ignores selectors and many products match; "
            "no_match that callers ask for what the catalog does not have.",
            "reqps",
            (Query(rate("sightline_filtered_searches_total", "plan"), "{{plan}}"),),
            stacked=True,
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
            width=4,
        ),
    ),
)
