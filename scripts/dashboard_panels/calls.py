"""Panels of calls: their number, status and duration."""

from scripts.dashboard_panels.panel import DECODE, NOT_OK, OK, OURS, Panel, Query, Row, quantiles, rate, stat

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
            "Objects by outcome: `searched`, `person` (refused), or a wrong answer of a model; codes; local features; "
            "printed text; second rounds.",
            "cps",
            (
                Query(rate("sightline_objects_total", "outcome"), "{{outcome}}"),
                Query(rate("sightline_codes_total", "outcome"), "codes {{outcome}}"),
                Query(rate("sightline_feature_checks_total", "outcome"), "local features {{outcome}}"),
                Query(rate("sightline_text_checks_total", "outcome"), "printed text {{outcome}}"),
                Query(rate("sightline_second_rounds_total", "outcome"), "second rounds {{outcome}}"),
            ),
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
        Panel(
            "Refused for load, by limit",
            "`connection_*` and `slow_*` are single callers; `concurrency` and `deadline` are more load than fits.",
            "reqps",
            (Query(rate("sightline_refused_calls_total", "limit"), "{{limit}}"),),
            stacked=True,
            width=12,
        ),
        Panel(
            "Refused for a quota, by caller",
            "Callers above their quota in the policy. It is their load, and more replicas do not help.",
            "reqps",
            (Query(rate("sightline_quota_refusals_total", "principal, quota"), "{{principal}} {{quota}}"),),
            stacked=True,
            width=12,
        ),
    ),
)

LATENCY = Row(
    "Latency by stage",
    (
        Panel(
            "First result",
            "From the request's arrival to the first object's answer: what a person waits for. Should stay under 1 s.",
            "s",
            quantiles("sightline_first_result_seconds", 0.5, 0.95, 0.99),
            red_from=1.0,
        ),
        Panel(
            "Whole call, answered ones",
            "From the headers to the end, the time of a slow upload and of a slow reader included.",
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
            "Where the time goes, waiting for a batch included. Objects overlap, so the stack may exceed the call.",
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
            "Check the stage that grows first.",
            "s",
            quantiles("sightline_stage_seconds", 0.95, by="stage", legend="{{stage}}"),
            width=24,
        ),
    ),
)
