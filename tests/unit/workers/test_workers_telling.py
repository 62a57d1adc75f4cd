"""A worker's log lines carry its number, those of a server alone do not."""

import json
import logging
from collections.abc import Iterator

import pytest

from sightline_server.telemetry.logging import configure


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(("worker", "shown"), [("2", "2"), ("", None)])
def test_a_record_names_its_worker(worker: str, shown: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json_lines=True, worker=worker)
    logging.getLogger("sightline_server.x").info("said", extra={"request_id": "r"})
    line = json.loads(capsys.readouterr().err)
    assert (line.get("worker"), line["request_id"]) == (shown, "r")
