"""Writes that `load_tests.catalog_crash --served` counts as lost, torn or unclear."""

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from load_tests.catalog_crash.served.figures import Result
from load_tests.catalog_crash.served.harm import Down, Harm
from load_tests.catalog_crash.served.states import Expected, Kind, Sent, State, shown
from load_tests.catalog_crash.served.writers import UNAVAILABLE, Answered, Answers, is_retryable

OLD = {each: State(Kind.READY, place) for place, each in enumerate("abc")}
UPDATED = {each: State(Kind.READY, state.value, "new") for each, state in OLD.items()}


def sent(expected: Expected, kind: Kind, states: dict[str, State | None]) -> Sent:
    write = Sent(kind, states, dict.fromkeys(states, "id"))
    expected.sent(write)
    return write


def test_an_acknowledged_product_that_is_gone_is_a_fault() -> None:
    expected = Expected(dict(OLD))
    write = sent(expected, Kind.READY, {"d": State(Kind.READY, 7)})
    expected.acknowledged(write, "d")
    assert expected.open == {}
    [fault] = expected.faults(OLD)
    assert fault.startswith("d: None")


def test_a_refused_product_that_is_there_is_a_fault() -> None:
    expected = Expected(dict(OLD))
    new = State(Kind.IMAGE, 7)
    expected.refused(sent(expected, Kind.IMAGE, {"a": new}), "a")
    assert len(expected.faults({**OLD, "a": new})) == 1


def test_a_deleted_product_that_is_back_is_a_fault() -> None:
    expected = Expected(dict(OLD))
    write = sent(expected, Kind.DELETE, {"a": None, "b": None})
    for each in ("a", "b"):
        expected.acknowledged(write, each)
    assert len(expected.faults(OLD)) == 2


@pytest.mark.parametrize("there", [[], ["a", "b", "c"]])
def test_a_request_without_an_answer_may_be_there_as_a_whole(there: list[str]) -> None:
    expected = Expected(dict(OLD))
    sent(expected, Kind.UPDATE, dict(UPDATED))
    found = OLD | {each: UPDATED[each] for each in there}
    assert expected.faults(found) == []
    assert expected.known == found


def test_a_half_of_one_request_is_a_fault() -> None:
    expected = Expected(dict(OLD))
    sent(expected, Kind.UPDATE, dict(UPDATED))
    [fault] = expected.faults(OLD | {"b": UPDATED["b"]})
    assert "only ['b'] are there" in fault


def test_products_of_one_stream_are_there_or_not_each_for_itself() -> None:
    expected, new = Expected(dict(OLD)), {each: State(Kind.IMAGE, 9) for each in "ab"}
    write = sent(expected, Kind.IMAGE, dict(new))
    expected.acknowledged(write, "a")
    assert expected.faults(OLD | {"a": new["a"]}) == []
    assert expected.open == {write: {"b"}}


def test_a_title_shows_its_state() -> None:
    state = State(Kind.IMAGE, 12, "3")
    assert shown(state.title, "3") == state


@pytest.mark.parametrize(
    ("code", "retry", "clear"), [(UNAVAILABLE, True, True), (UNAVAILABLE, False, False), (13, True, False)]
)
def test_a_refusal_is_clear_when_it_says_when_to_try_again(code: int, retry: bool, clear: bool) -> None:
    status = status_pb2.Status(code=code)
    if retry:
        detail = Any()
        detail.Pack(error_details_pb2.RetryInfo())
        status.details.append(detail)
    assert is_retryable(status) is clear


def test_ready_embeddings_that_pause_or_fail_while_the_engine_is_down_are_counted() -> None:
    ready = [Answered(Kind.READY, 9.0, 9.5, True)]
    ready += [Answered(Kind.READY, at, at + 0.1, at < 14) for at in (11.0, 13.0, 14.0)]
    kept, paused = Result(), Result()
    kept.engine_ended(Down(10.0, 15.0), Answers(ready[:3]))
    assert (kept.written_while_down, kept.refused_while_down, kept.longest_pause_s) == (2, 0, 2.0)
    assert kept.kept
    paused.engine_ended(Down(10.0, None), Answers(ready))
    assert (paused.refused_while_down, paused.not_back) == (1, 1)
    assert not paused.kept


def test_no_write_while_the_engine_is_down_breaks_the_promise() -> None:
    nothing = Result()
    nothing.engine_ended(Down(10.0, 15.0), Answers())
    assert not nothing.kept


@pytest.mark.parametrize(
    ("harm", "code", "wrong"), [(Harm.TERM, -9, 1), (Harm.TERM, 0, 0), (Harm.TERM_KILL, -9, 0), (Harm.KILL, 0, 1)]
)
def test_a_server_must_end_as_it_was_ended(harm: Harm, code: int, wrong: int) -> None:
    result = Result()
    result.server_ended(harm, code)
    assert result.not_stopped == wrong
