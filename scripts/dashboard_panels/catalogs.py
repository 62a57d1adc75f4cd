"""Catalogs that are written while they are searched. On a server without one these panels are empty."""

from scripts.dashboard_panels.panel import OURS, Panel, Query, Row, mean, quantiles, rate

STALE, LOW = "catalog:sightline_stale:ratio_rate", "catalog:sightline_recall_low:ratio10m"


def most(metric: str) -> str:
    """The largest value of a gauge over the chosen replicas, by catalog."""
    return f"max by (catalog) ({metric}{{{OURS}}})"


OBJECTIVES = Row(
    "Objectives of catalogs",
    (
        Panel(
            "Acknowledged to found",
            "Once a second at most, a product that was just acknowledged is searched by its own vector, after all "
            "callers. 99 % should be found within 1 s; it includes the time of the search.",
            "s",
            quantiles("sightline_catalog_freshness_seconds", 0.5, 0.99, by="catalog", legend="{{catalog}}"),
            red_from=1.0,
        ),
        Panel(
            "Burn rate of the freshness budget",
            "1 uses up the month's budget exactly; 14.4 for an hour pages.",
            "short",
            (
                Query(f"{STALE}5m / 0.01", "{{catalog}} 5 min"),
                Query(f"{STALE}1h / 0.01", "{{catalog}} 1 h"),
                Query(f"{STALE}6h / 0.01", "{{catalog}} 6 h"),
            ),
            red_from=14.4,
        ),
        Panel(
            "Freshness checks by outcome",
            "missed: no search returned the product within 10 s. undecided: it was changed again meanwhile, or many "
            "images are equal. failed: the searches got no answer.",
            "cps",
            (Query(rate("sightline_catalog_freshness_checks_total", "catalog, outcome"), "{{catalog}} {{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Burn rate of the recall budget",
            "Time in which recall@10 over 10 minutes is under 0.95. 1 uses up the month's budget (1 % of the time) "
            "exactly; 14.4 for an hour pages.",
            "short",
            (
                Query(f"avg_over_time({LOW}[5m]) / 0.01", "{{catalog}} 5 min"),
                Query(f"avg_over_time({LOW}[1h]) / 0.01", "{{catalog}} 1 h"),
                Query(f"avg_over_time({LOW}[6h]) / 0.01", "{{catalog}} 6 h"),
            ),
            red_from=14.4,
        ),
    ),
)

WRITES = Row(
    "Writes to catalogs",
    (
        Panel(
            "Operations acknowledged",
            "Upserts, updates and deletes that are on the disk and in every later search.",
            "cps",
            (Query(rate("sightline_catalog_operations_total", "catalog"), "{{catalog}}"),),
        ),
        Panel(
            "Writes refused",
            "Valid ones. disk_full: make room. queue_full: more is written than the disk takes.",
            "cps",
            (Query(rate("sightline_catalog_refused_writes_total", "catalog, reason"), "{{catalog}} {{reason}}"),),
        ),
        Panel(
            "Commit of a group",
            "One transaction with one fsync: the disk's own time, for all writes of some milliseconds together.",
            "s",
            quantiles("sightline_catalog_commit_seconds", 0.5, 0.99, by="catalog", legend="{{catalog}}"),
        ),
        Panel(
            "Wait of products' images",
            "For their turn at the embedder: for images before them and for searches. Above a second there are more "
            "images than the engine has time for.",
            "s",
            quantiles("sightline_background_wait_seconds", 0.5, 0.99),
            red_from=1.0,
        ),
        Panel(
            "Operations in the log",
            "Falls to 0 with each checkpoint, which is due after 5 minutes or 50,000 operations.",
            "short",
            (Query(most("sightline_catalog_log_operations"), "{{catalog}}"),),
        ),
        Panel(
            "Age of the last checkpoint",
            "Grows without harm while nothing is written.",
            "s",
            (Query(f"time() - {most('sightline_catalog_checkpoint_timestamp_seconds')}", "{{catalog}}"),),
        ),
        Panel(
            "Mean seconds of a checkpoint and of a merge",
            "Both run next to searches. A merge builds a new base index.",
            "s",
            (
                Query(mean("sightline_catalog_checkpoint_seconds", "catalog"), "{{catalog}} checkpoint"),
                Query(mean("sightline_catalog_merge_seconds", "catalog"), "{{catalog}} merge"),
            ),
        ),
        Panel(
            "Failed checkpoints and merges in the last hour",
            "Should be 0. Nothing is lost: the log has what a checkpoint lacks, the delta what a merge lacks.",
            "short",
            (
                Query(
                    f"sum by (catalog) (increase(sightline_catalog_checkpoint_failures_total{{{OURS}}}[1h]))",
                    "{{catalog}} checkpoint",
                ),
                Query(
                    f"sum by (catalog) (increase(sightline_catalog_merge_failures_total{{{OURS}}}[1h]))",
                    "{{catalog}} merge",
                ),
            ),
        ),
        Panel(
            "Images outside of the base index, and dead ones",
            "The delta is compared image by image by every search, and merged at the limit. Dead images take memory "
            "until the next merge.",
            "short",
            (
                Query(most("sightline_catalog_delta_images"), "{{catalog}} delta"),
                Query(most("sightline_catalog_merge_at_images"), "{{catalog}} merge at"),
                Query(most("sightline_catalog_dead_images"), "{{catalog}} dead"),
            ),
        ),
        Panel(
            "Images in the base index",
            "Dead ones included. Rises with each merge by what the delta had.",
            "short",
            (Query(most("sightline_catalog_base_images"), "{{catalog}}"),),
        ),
        Panel(
            "Memory of the index",
            "Both parts of each catalog. During a merge a second base is built next to the first.",
            "bytes",
            (
                Query(
                    f"max by (catalog, part) (sightline_catalog_memory_bytes{{{OURS}}})",
                    "{{catalog}} {{part}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Catalog on the disk",
            "Free should stay above the base and 1 GiB: a compaction writes the whole base once more.",
            "bytes",
            (
                Query(most("sightline_catalog_base_bytes"), "{{catalog}} base"),
                Query(most("sightline_catalog_log_bytes"), "{{catalog}} log"),
                Query(f"min by (catalog) (sightline_catalog_disk_free_bytes{{{OURS}}})", "{{catalog}} free"),
            ),
        ),
        Panel(
            "Versions of the base",
            "20 to 25 are kept, so that a rollback can go back to each.",
            "short",
            (Query(most("sightline_catalog_base_versions"), "{{catalog}}"),),
        ),
    ),
)

IN_MILVUS = Row(
    "Catalogs in Milvus",
    (
        Panel(
            "Available",
            "1 while the Milvus of a catalog answers and its revision passes the checks. At 0 its calls are refused.",
            "short",
            (Query(f"min by (catalog) (sightline_catalog_available{{{OURS}}})", "{{catalog}}"),),
        ),
        Panel(
            "Calls of Milvus",
            "99 in 100 took less. A search is one call, and one more for the products that no recent answer had.",
            "s",
            quantiles("sightline_milvus_call_seconds", 0.99, by="catalog, call", legend="{{catalog}} {{call}}"),
        ),
        Panel(
            "Failures of Milvus",
            "Calls a second that failed or took longer than 2 s. None is normal.",
            "short",
            (Query(rate("sightline_milvus_failures_total", "catalog, call"), "{{catalog}} {{call}}"),),
        ),
    ),
)

REPLICAS = Row(
    "Replicas that follow a writer",
    (
        Panel(
            "Behind the source",
            "Seconds for which it has not been certain that a replica serves the newest published revision. A few "
            "while a revision is fetched; an alert names a replica after a minute.",
            "s",
            (
                Query(
                    f"time() - min by (instance, catalog) (sightline_replica_in_step_timestamp_seconds{{{OURS}}})",
                    "{{instance}} {{catalog}}",
                ),
                Query(
                    f"time() - min by (instance, catalog) (sightline_publication_in_step_timestamp_seconds{{{OURS}}})",
                    "{{instance}} {{catalog}} publishing",
                ),
            ),
            red_from=60.0,
        ),
        Panel(
            "Age of what is not served yet",
            "Seconds since the publication of a revision, or of operations, that a replica does not serve. 0 is "
            "normal.",
            "s",
            (
                Query(
                    f"max by (instance, catalog) (sightline_replica_lag_seconds{{{OURS}}})",
                    "{{instance}} {{catalog}}",
                ),
            ),
        ),
        Panel(
            "Failed attempts to follow",
            "By reason; the runbook says what to do about each. None is normal.",
            "cps",
            (Query(rate("sightline_replica_failures_total", "catalog, reason"), "{{catalog}} {{reason}}"),),
            stacked=True,
        ),
        Panel(
            "Operations between revisions",
            "Writes of the writer that a replica has applied to the revision that it serves, per second. Replicas of "
            "one writer have about the same.",
            "cps",
            (Query(rate("sightline_replica_operations_total", "instance, catalog"), "{{instance}} {{catalog}}"),),
        ),
    ),
)
