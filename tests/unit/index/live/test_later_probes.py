"""Probes that are made once their base is served."""

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sightline_server.index.live.later_probes import make_later


def base_with(make_probes: Callable[[Callable[[], None]], None]) -> Any:
    return SimpleNamespace(name="shop", make_probes=make_probes)


def in_two_parts(done: list[str]) -> Any:
    """A base whose probes are made in two parts, which are noted in `done`."""

    def make_probes(pause: Callable[[], None]) -> None:
        for part in "ab":
            pause()
            done.append(part)

    return base_with(make_probes)


def test_each_part_waits_first(caplog: pytest.LogCaptureFixture) -> None:
    parts: list[str] = []
    make_later(in_two_parts(parts), lambda: parts.append("wait"), lambda: True).join()
    assert parts == ["wait", "a", "wait", "b"]
    assert not caplog.records


def test_probes_of_a_base_that_was_replaced_end_without_an_error(caplog: pytest.LogCaptureFixture) -> None:
    parts: list[str] = []
    make_later(in_two_parts(parts), lambda: None, lambda: not parts).join()
    assert parts == ["a"]
    assert not caplog.records


def test_without_a_further_thread_the_rollback_has_not_failed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    make_later(base_with(lambda _pause: None), lambda: None, lambda: True)
    assert "catalog shop: the probes of its live recall could not be made" in caplog.text


def test_a_failure_is_logged_with_the_catalog(caplog: pytest.LogCaptureFixture) -> None:
    def short_of_memory(_pause: Callable[[], None]) -> None:
        raise MemoryError

    with caplog.at_level(logging.ERROR):
        make_later(base_with(short_of_memory), lambda: None, lambda: True).join()
    assert "catalog shop: the probes of its live recall could not be made" in caplog.text
