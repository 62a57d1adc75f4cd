"""The client's pure parts: conversion, the error table, retries, regions."""

import dataclasses
import enum
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sightline_client import annotate, convert, errors, events, status
from sightline_client.cli.regions import parse_box, parse_point
from sightline_client.convert.done import NOTICES
from sightline_client.convert.events import FAILURES
from sightline_client.convert.objects import SOURCES, TAP_BOXES
from sightline_client.convert.products import LEVELS, REASONS
from sightline_client.options import ClientOptions, RetryOptions, TlsOptions
from sightline_client.retry import Retrier, RetryThrottle
from tests.support.fake_lens import ANSWER, DONE


@pytest.mark.parametrize("event", ANSWER, ids=lambda event: type(event).__name__)
def test_events_survive_the_way_over_the_wire(event: events.Event) -> None:
    assert convert.event_from_pb(convert.event_to_pb(event)) == event


@pytest.mark.parametrize(
    "kind",
    [
        events.ObjectSource,
        events.TapBox,
        events.MatchLevel,
        events.ReasonKind,
        events.FailureReason,
        events.Notice,
    ],
    ids=lambda k: k.__name__,
)
def test_every_value_of_an_enum_has_its_number(kind: type[enum.Enum]) -> None:
    tables: dict[type[enum.Enum], Mapping[Any, int]] = {
        events.ObjectSource: SOURCES,
        events.TapBox: TAP_BOXES,
        events.MatchLevel: LEVELS,
        events.ReasonKind: REASONS,
        events.FailureReason: FAILURES,
        events.Notice: NOTICES,
    }
    table = tables[kind]
    assert set(table) == set(kind)
    assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("notice", [None, events.Notice.PERSON_ONLY])
def test_a_notice_survives_the_way_over_the_wire(notice: events.Notice | None) -> None:
    done = dataclasses.replace(DONE, notice=notice)
    assert convert.event_from_pb(convert.event_to_pb(done)) == done


@pytest.mark.parametrize("how", [None, *(each for each in events.TapBox if each is not events.TapBox.UNKNOWN)])
def test_the_way_to_a_tapped_box_survives_the_way_over_the_wire(how: events.TapBox | None) -> None:
    tapped = events.DetectedObject("o1", events.Box.whole(), source=events.ObjectSource.TAP, tap_box=how)
    detected = events.Detected((tapped,))
    assert convert.event_from_pb(convert.event_to_pb(detected)) == detected


def test_a_notice_of_a_newer_server_is_unknown() -> None:
    message = convert.event_to_pb(ANSWER[-1])
    message.done.notice = 99  # type: ignore[assignment]
    newer = convert.event_from_pb(message)
    assert isinstance(newer, events.Done) and newer.notice is events.Notice.UNKNOWN


def test_events_are_frozen_and_slotted() -> None:
    for event in ANSWER:
        assert not hasattr(event, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, dataclasses.fields(event)[0].name, "other")


def test_json_is_one_line_with_every_key() -> None:
    line = convert.event_to_json(events.Detected(()))
    assert "\n" not in line
    assert json.loads(line) == {"detected": {"objects": [], "redacted": 0, "further": False}}


def test_the_error_table_is_total() -> None:
    assert set(status.ERRORS) == set(grpc.StatusCode)
    assert all(issubclass(kind, errors.SightlineError) for kind in status.ERRORS.values())


def retrier(attempts: int = 3) -> Retrier:
    return Retrier(RetryOptions(attempts=attempts, first_delay_s=1.0, max_delay_s=3.0), RetryThrottle(), lambda: 1.0)


def test_delays_double_up_to_the_largest() -> None:
    patient = retrier(attempts=5)
    gone = errors.UnavailableError("gone")
    assert [patient.delay_s(attempt, gone, 60.0) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize(
    "error",
    [
        errors.StreamBrokenError("broken"),
        errors.OverloadedError("full", retry_after_s=0.1),
        errors.InternalError("internal error"),
        errors.DeadlineExceededError("late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_final(error: errors.SightlineError) -> None:
    assert retrier().delay_s(1, error, 60.0) is None


@given(st.lists(st.booleans(), max_size=60))
def test_the_bucket_stays_in_its_bounds(calls: list[bool]) -> None:
    throttle = RetryThrottle()
    for succeeded in calls:
        throttle.succeeded() if succeeded else throttle.failed()
        assert 0.0 <= throttle.tokens <= throttle.max_tokens
        assert throttle.allows == (throttle.tokens > 5.0)


def test_a_lone_certificate_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match="go together"):
        TlsOptions(client_cert=Path("cert.pem")).credentials()


def test_there_is_no_hedging_and_no_retry_in_the_service_config() -> None:
    arguments = dict(ClientOptions().channel_arguments())
    assert json.loads(str(arguments["grpc.service_config"])) == {"methodConfig": [{"name": [{}]}]}
    assert arguments["grpc.max_send_message_length"] == 21 * 1024 * 1024


def test_regions_are_read_as_written() -> None:
    assert parse_box("0, 0.5,1,1.0") == events.Box(0.0, 0.5, 1.0, 1.0)
    assert parse_point("0.25,0.75") == events.Point(0.25, 0.75)
    for wrong in ("", "1,2,3", "a,b,c,d", "1,2,3,4,5"):
        with pytest.raises(ValueError, match="is not x0,y0,x1,y1"):
            parse_box(wrong)


def test_numbers_of_other_types_are_taken_as_options() -> None:
    numbers: dict[str, Any] = {"max_photo_bytes": np.int64(5), "max_answer_bytes": np.int32(7), "channels": np.int8(2)}
    options = ClientOptions(**numbers)
    assert all(type(value) in (int, str) for _, value in options.channel_arguments())
    delays: dict[str, Any] = {"first_delay_s": Decimal("1"), "max_delay_s": np.float32(3)}
    retry = RetryOptions(**delays)
    patient = Retrier(retry, RetryThrottle(), lambda: 1.0)
    assert patient.delay_s(2, errors.UnavailableError("gone"), 60.0) == 2.0


def test_many_attempts_do_not_overflow_the_delay() -> None:
    retry = RetryOptions(attempts=10**6, first_delay_s=1.0, max_delay_s=3.0)
    patient = Retrier(retry, RetryThrottle(), lambda: 1.0)
    assert patient.delay_s(10**5, errors.UnavailableError("gone"), 60.0) == 3.0


@pytest.mark.parametrize("edge", [float("nan"), float("inf"), -1e30, 1e30])
def test_a_box_outside_of_the_photo_is_drawn_at_its_edge(edge: float) -> None:
    found = events.DetectedObject("o1", events.Box(edge, edge, edge, edge), "chair")
    assert annotate.draw(Image.new("RGB", (20, 10)), [found]).size == (20, 10)


@pytest.mark.parametrize("photo", [b"", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"BM" + bytes(60), b"GIF89a"], ids=repr)
def test_a_photo_that_cannot_be_decoded_is_an_os_error(photo: bytes) -> None:
    with pytest.raises(OSError, match="image"):
        annotate.upright(photo)
