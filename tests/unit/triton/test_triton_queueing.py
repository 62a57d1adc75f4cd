"""Configurations of Triton's queue that make calls wait."""

import logging
from pathlib import Path
from typing import Any

import pytest

from sightline_server.triton.client import parse_config
from sightline_server.triton.queueing import causes_of_waits, warn_of_waits


def config(batching: str) -> dict[str, Any]:
    return parse_config(f"max_batch_size: 8 {batching}")


@pytest.mark.parametrize(
    "batching",
    [
        "",
        "dynamic_batching { }",
        "dynamic_batching { max_queue_delay_microseconds: 100 preferred_batch_size: [4] }",
        "dynamic_batching { default_queue_policy { timeout_action: REJECT } }",
        "dynamic_batching { default_queue_policy { allow_timeout_override: false max_queue_size: 0 } }",
    ],
)
def test_a_queue_that_hands_requests_on_causes_no_waits(batching: str) -> None:
    assert causes_of_waits(config(batching)) == []


@pytest.mark.parametrize(
    ("batching", "cause"),
    [
        (
            "default_queue_policy { default_timeout_microseconds: 60000000 }",
            "default_queue_policy.default_timeout_microseconds",
        ),
        ("default_queue_policy { allow_timeout_override: true }", "default_queue_policy.allow_timeout_override"),
        ("default_queue_policy { max_queue_size: 4 }", "default_queue_policy.max_queue_size"),
        ("priority_levels: 2 default_priority_level: 1", "priority_levels"),
    ],
)
def test_a_policy_and_priorities_cause_waits(batching: str, cause: str) -> None:
    assert causes_of_waits(config(f"dynamic_batching {{ {batching} }}")) == [f"dynamic_batching.{cause}"]


@pytest.mark.parametrize(
    "path", sorted(Path("model_repository").glob("*/config.pbtxt")), ids=lambda path: path.parent.name
)
def test_the_shipped_configurations_cause_no_waits(path: Path) -> None:
    assert causes_of_waits(parse_config(path.read_text())) == []


def test_the_warning_names_the_model_and_all_fields(caplog: pytest.LogCaptureFixture) -> None:
    found = config(
        "dynamic_batching { default_queue_policy { max_queue_size: 4 } priority_levels: 2 default_priority_level: 1 }"
    )
    with caplog.at_level(logging.WARNING):
        warn_of_waits("detector", found)
        warn_of_waits("embedder", config(""))
    [message] = caplog.messages
    assert message == (
        "model detector: dynamic_batching.default_queue_policy.max_queue_size and dynamic_batching.priority_levels in "
        "config.pbtxt makes Triton keep calls waiting for half a second at random; remove it"
    )
