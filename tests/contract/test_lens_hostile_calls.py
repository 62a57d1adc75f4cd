"""The mix of `load_tests.hostile` on a server in this process: every call is answered, and no answer blames us."""

import asyncio
import logging
from pathlib import Path

import pytest

from load_tests.guarded.rights import Rights
from load_tests.hostile.attacker import Attacker, Ends, Order, blamed
from load_tests.hostile.materials import materials
from tests.support.grants import MARK
from tests.support.lens import FakeSnapshot, serving

CALLS = 300


def attacked(order: Order) -> Ends:
    attacker = Attacker(order)
    for _ in attacker.turns():
        pass
    return attacker.ends


async def test_every_hostile_call_is_answered_and_none_blames_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rights = Rights(tmp_path)
    async with serving(
        index=FakeSnapshot("default"),
        rights=rights.entrance.settings,
        consent=rights.consent.settings("required"),
        audit={"folder": rights.audit},
    ) as served:
        ends = await asyncio.to_thread(attacked, Order(served.address, materials(rights), 11, CALLS))
    assert (dict(ends.unanswered), blamed(ends), ends.repeated) == ({}, 0, 0)
    assert sum(ends.by_end.values()) == ends.calls >= CALLS
    assert ends.by_end["cut off"] < CALLS / 10
    assert {"status 3", "status 5", "status 7", "status 9", "status 12", "status 16"} <= ends.by_end.keys()
    assert MARK not in "\n".join(str(vars(each)) for each in caplog.records)
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []
