"""Queues and batches."""

from scripts.dashboard_panels.panel import OURS, Panel, Query, Row, mean, quantiles, rate

QUEUES = Row(
    "Queues",
    (
        Panel(
            "Wait for a batch",
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
            "cancelled: by the caller; expired: the deadline passed; full: no room in the queue.",
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
            "Time of a batch",
            "From its forming to its answer: the model or the index at work, and the batch before it there.",
            "s",
            quantiles("sightline_batch_seconds", 0.5, 0.9, by="batcher", legend="{{batcher}}"),
        ),
        Panel(
            "Items that ran for nobody",
            "Their calls had ended before. The device computed answers that are not read, which is lost capacity.",
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
        Panel(
            "Decode processes that ended",
            "While they decoded a photo that only Pillow takes: a crash, a timeout, or a cancelled call.",
            "cps",
            (Query(rate("sightline_decode_process_ends_total", "reason"), "{{reason}}"),),
        ),
    ),
)
