"""Nothing that a catalog, a server or a file name holds controls the terminal on which it is shown."""

import io
import logging
import re
import sys
import unicodedata

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sightline_client import convert, events
from sightline_client.answers import Answer
from sightline_client.cli import tables
from sightline_client.errors import SightlineError
from sightline_console import terminal
from sightline_server.cli.build_report import shown_progress
from sightline_server.telemetry.logging import JsonFormatter, PlainFormatter

HOSTILE = "a\x1b]0;renamed\x07b\x1b[2J\x9b31mc\u202egnp.exe\u2066\u200bd\ne\rf\x00[red]:tada:"
SHOWN = r"a\x1b]0;renamed\x07b\x1b[2J\x9b31mc\u202egnp.exe\u2066\u200bd e f\x00[red]:tada:"
"""HOSTILE as it is shown."""
OWN_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The sequences that Rich writes for the colours of a table."""


def assert_harmless(text: str) -> None:
    left = {ascii(each) for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"'\\n'"}
    assert not left


def test_control_characters_are_shown_and_line_breaks_are_blanks() -> None:
    assert terminal.printable(HOSTILE) == SHOWN
    assert terminal.printable("stühl\t中文 \u00a0 e\u0301 💺") == "stühl 中文 \u00a0 e\u0301 💺"
    assert terminal.printable("Kaffee\u00admaschine") == "Kaffeemaschine"
    assert terminal.printable("می\u200cرود 👩\u200d💻") == "می\u200cرود 👩\u200d💻"
    assert terminal.printable("st\udcfchl.jpg") == r"st\udcfchl.jpg"


@pytest.mark.parametrize("category", ["Cc", "Cf", "Cs", "Zl", "Zp"])
def test_no_character_of_a_dangerous_category_passes(category: str) -> None:
    members = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == category]
    assert members
    left = [each for each in members if each in terminal.printable(f"x{each}y")]
    assert set(left) <= {"\u200c", "\u200d"}


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_printable_text_stays_as_it_is(text: str) -> None:
    once = terminal.printable(text)
    assert terminal.printable(once) == once
    assert "\n" not in once


def test_text_of_several_lines_keeps_them() -> None:
    assert terminal.printable_lines("a\x1b\nb\r\nc") == "a\\x1b\nb \nc"


def hostile_answer() -> list[events.Event]:
    found = events.DetectedObject(HOSTILE, events.Box.whole(), HOSTILE, 0.5)
    other = events.DetectedObject("o2", events.Box.whole(), HOSTILE, 0.5)
    product = events.Product(id=HOSTILE, title=HOSTILE, brand=HOSTILE, price=HOSTILE, link=HOSTILE)
    reasons = (events.Reason(events.ReasonKind.CATEGORY_MATCH, 0.125, HOSTILE),)
    ranked = events.RankedProduct(product, 0.5, 0.625, 1, HOSTILE, events.MatchLevel.WEAK, reasons)
    return [
        events.Accepted(HOSTILE),
        events.Detected((found, other)),
        events.ObjectResults(HOSTILE, (ranked,)),
        events.ObjectFailure("o2", events.FailureReason.INTERNAL, HOSTILE),
        events.Done(events.StageTimings(), HOSTILE, HOSTILE, HOSTILE, HOSTILE),
    ]


def test_a_notice_is_shown_by_both_tables() -> None:
    done = events.Done(events.StageTimings(), "rev", "d", "e", "r", notice=events.Notice.PERSON_ONLY)
    console = Console(file=io.StringIO(), width=200)
    tables.show_done(console, done)
    console.print(tables.photo_table("a.jpg", Answer.of([events.Detected(()), done])))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count("people are not searched") == 2


def test_tables_show_hostile_text_harmlessly() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=300)
    answer = hostile_answer()
    _, detected, results, failure, done = answer
    assert isinstance(detected, events.Detected)
    assert isinstance(results, events.ObjectResults)
    assert isinstance(failure, events.ObjectFailure)
    assert isinstance(done, events.Done)
    first, second = detected.objects
    console.print(tables.object_table(1, first, results.products))
    tables.show_failure(console, 2, second, failure)
    tables.show_done(console, done)
    console.print(tables.photo_table(HOSTILE, Answer.of(answer)))
    file = console.file
    assert isinstance(file, io.StringIO)
    text = OWN_COLOURS.sub("", file.getvalue())
    assert_harmless(text)
    assert r"\x1b]0;renamed\x07" in text
    assert "[red]:tada:" in text


def test_json_keeps_hostile_text_exactly_and_escapes_it() -> None:
    for event in hostile_answer():
        line = convert.event_to_json(event)
        assert line.isascii()
        assert line.isprintable()
        assert convert.event_from_pb(json_format.Parse(line, convert.event_to_pb(event).__class__())) == event


def test_an_error_in_one_line_is_harmless() -> None:
    error = SightlineError(HOSTILE, code="INTERNAL", reason=HOSTILE, request_id=HOSTILE)
    assert_harmless(error.one_line())
    assert "\n" not in error.one_line()


@pytest.mark.parametrize("formatter", [PlainFormatter(), JsonFormatter()], ids=["plain", "json"])
def test_a_log_record_is_one_harmless_line(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("engine", logging.INFO, "", 0, "%s", (HOSTILE,), None)
    line = formatter.format(record)
    assert_harmless(line)
    assert "\n" not in line
    assert "renamed" in line


def test_a_logged_exception_keeps_its_lines() -> None:
    record = logging.LogRecord("engine", logging.INFO, "", 0, "failed", (), None)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record.exc_info = sys.exc_info()
    text = PlainFormatter().format(record)
    assert_harmless(text)
    assert "\nTraceback" in text


def test_a_problem_of_a_build_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(1) as progress:
        progress.problem(HOSTILE)  # type: ignore[arg-type]
    assert capsys.readouterr().err == f"{SHOWN}\n"
