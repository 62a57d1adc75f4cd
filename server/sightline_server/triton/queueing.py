"""Triton's own queue of a model, and the configurations that make calls wait in it.

With a queue policy or priorities, Triton hands a request on only to an instance that is idle at that moment, and
nothing notifies its batcher when an instance becomes idle: the request waits until the batcher's next turn, half a
second later (`support_prefetching_` and `WaitForPayloadSlotAvailable` in dynamic_batch_scheduler.cc of Triton's core).
docs/operate/engine.md has what was measured.
"""

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

POLICY_FIELDS = ("default_timeout_microseconds", "allow_timeout_override", "max_queue_size")


def causes_of_waits(config: Mapping[str, Any]) -> list[str]:
    """The fields of a model's configuration, as Triton gives it, that make calls wait half a second at random."""
    batching = config.get("dynamic_batching") or {}
    policy = batching.get("default_queue_policy") or {}
    found = [f"default_queue_policy.{field}" for field in POLICY_FIELDS if is_set(policy.get(field))]
    if is_set(batching.get("priority_levels")):
        found.append("priority_levels")
    return [f"dynamic_batching.{field}" for field in found]


def is_set(value: Any) -> bool:
    """Returns whether a field differs from its default; Triton's JSON gives 64-bit numbers as text."""
    return value not in (None, False, 0, "0", "")


def warn_of_waits(model: str, config: Mapping[str, Any]) -> None:
    """Logs a warning that names the fields to remove from the `config.pbtxt` of `model`."""
    if causes := causes_of_waits(config):
        log.warning(
            "model %s: %s in config.pbtxt makes Triton keep calls waiting for half a second at random; remove it",
            model,
            " and ".join(causes),
        )
