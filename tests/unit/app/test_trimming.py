"""Memory is given back when most of what many requests held is gone, once, and not before."""

import asyncio

from sightline_server.app.trimming import TRIM_ABOVE_BYTES, Trimming
from tests.support.lens import until

MANY = 2 * TRIM_ABOVE_BYTES


async def test_memory_is_trimmed_once_after_many_bytes_have_gone() -> None:
    trims: list[int] = []
    trimming = Trimming(lambda: trims.append(1), rest_s=0.0)
    for used in (MANY, MANY // 4, 0, MANY // 4, 0):
        trimming.used(used)
    await until(lambda: len(trims) == 1)
    for used in (1000, 0):
        trimming.used(used)
    await asyncio.sleep(0)
    assert trimming._timer is None
    trimming.used(MANY)
    trimming.used(0)
    await until(lambda: len(trims) == 2)


async def test_nothing_is_trimmed_for_few_bytes_or_while_they_are_held() -> None:
    trimming = Trimming(lambda: None, rest_s=0.0)
    for used in (TRIM_ABOVE_BYTES - 1, 0, MANY, MANY - 1000, MANY // 2, MANY):
        trimming.used(used)
        assert trimming._timer is None


async def test_a_closed_one_trims_nothing() -> None:
    trims: list[int] = []
    trimming = Trimming(lambda: trims.append(1), rest_s=0.01)
    trimming.used(MANY)
    trimming.used(0)
    trimming.close()
    await asyncio.sleep(0.05)
    assert trims == []
