"""Quotas of principals through a real channel: what is refused, when it is not, and that the others are served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from joserfc.jwk import OKPKey

from sightline_server.access.failed_tokens import AT_ONCE, RETRY_S
from sightline_server.app.access import AccessFiles, open_access_files
from sightline_server.settings import Settings
from tests.support.asking import asked, events_of, kinds
from tests.support.clock import HandClock
from tests.support.lens import Failed, FakeSnapshot, Served, failed, serving, until
from tests.support.tokens import Entrance, add_key, bearer

CODE = grpc.StatusCode
RIGHTS = 'catalogs = ["default"]\nmethods = ["search"]\n'


class Shop:
    """A server whose policy gives `app` a quota and `other` none, with a clock that a test moves."""

    def __init__(self, folder: Path, quota: str, more: str = "") -> None:
        self.entrance = Entrance(folder, policy(quota, more))
        self.clock = HandClock()
        self.keys = {"app": self.entrance.app_key, "other": add_key(self.entrance.keys, "other")}
        self.files: AccessFiles | None = None
        self.served: Served

    def change(self, quota: str, more: str = "") -> None:
        """Replaces the policy while the server runs."""
        assert self.files is not None
        self.entrance.policy.write_text(policy(quota, more))
        self.files.check(force=True)

    async def code(self, principal: str = "app", **options: Any) -> grpc.StatusCode:
        """The code of a search."""
        call = self.served.search(asked(), metadata=bearer(self.keys[principal]), **options)
        try:
            assert kinds(await events_of(call))[-1] == "done"
        except grpc.aio.AioRpcError as error:
            return CODE(error.code())
        return CODE.OK

    async def refusal(self, principal: str = "app") -> Failed:
        """The refusal of a search."""
        return await failed(self.served.search(asked(), metadata=bearer(self.keys[principal])))

    def waiting(self, principal: str) -> Any:
        """A search whose index waits."""
        return asyncio.ensure_future(self.code(principal))


def policy(quota: str, more: str = "") -> str:
    return f"[principals.app]\n{RIGHTS}quota = {{ {quota} }}\n[principals.other]\n{RIGHTS}{more}\n"


@asynccontextmanager
async def shop(folder: Path, quota: str, more: str = "", **options: Any) -> AsyncIterator[Shop]:
    made = Shop(folder, quota, more)
    settings = Settings(access=made.entrance.settings)  # type: ignore[arg-type]
    made.files = open_access_files(settings, quota_clock=made.clock)
    assert made.files is not None
    async with serving(index=FakeSnapshot("default"), access=made.files.access, **options) as made.served:
        yield made


async def test_a_used_up_quota_is_refused_with_its_details_until_it_refills(tmp_path: Path) -> None:
    async with shop(tmp_path, "calls_per_minute = 30, calls_burst = 3") as app:
        assert [await app.code() for _ in range(3)] == [CODE.OK] * 3
        refusal = await app.refusal()
        assert (refusal.code, refusal.reason, refusal.events) == (CODE.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", [])
        assert set(refusal.details) == {"ErrorInfo", "RetryInfo", "QuotaFailure"}
        info = refusal.details["ErrorInfo"].metadata
        assert (info["quota"], info["subject"]) == ("calls_per_minute", "principal")
        [violation] = refusal.details["QuotaFailure"].violations
        assert (violation.subject, violation.description) == ("principal", refusal.message)
        assert refusal.message == "the quota of this caller is used up: 30 calls a minute, 3 at once"
        delay = refusal.details["RetryInfo"].retry_delay
        assert delay.ToTimedelta().total_seconds() == pytest.approx(2.0, abs=0.0021)
        assert await app.code("other") is CODE.OK

        app.clock.now += 1.9
        assert await app.code() is CODE.RESOURCE_EXHAUSTED
        app.clock.now += 0.2
        assert [await app.code() for _ in range(2)] == [CODE.OK, CODE.RESOURCE_EXHAUSTED]
        app.clock.now += 3600
        assert [await app.code() for _ in range(4)] == [*[CODE.OK] * 3, CODE.RESOURCE_EXHAUSTED], "no more than a burst"


async def test_a_quota_is_decided_before_the_message_is_read(tmp_path: Path) -> None:
    async with shop(tmp_path, "calls_per_minute = 1") as app:
        assert await app.code() is CODE.OK
        method: Any = app.served.channel.stream_stream("/sightline.v1.LensService/Search")
        call = method(metadata=bearer(app.keys["app"]), timeout=30)
        assert await call.code() is CODE.RESOURCE_EXHAUSTED
        assert app.served.value("request_bytes") == 0
        assert app.served.value("stage_seconds_count", stage="decode") == 1


async def test_a_caller_at_its_open_calls_leaves_the_server_to_the_others(tmp_path: Path) -> None:
    async with shop(tmp_path, "concurrent = 2") as app:
        index = app.served.index
        index.gate.clear()
        held = [app.waiting("app") for _ in range(2)]
        await until(lambda: app.served.door.admission.inside == 2)
        refusal = await app.refusal()
        assert (refusal.reason, refusal.details["ErrorInfo"].metadata["quota"]) == ("QUOTA_EXCEEDED", "concurrent")
        assert refusal.message == "the quota of this caller is used up: 2 open calls"
        others = [app.waiting("other") for _ in range(3)]
        await until(lambda: app.served.door.admission.inside == 5)
        index.gate.set()
        assert await asyncio.gather(*held, *others) == [CODE.OK] * 5
        assert await app.code() is CODE.OK


async def test_calls_that_only_upload_are_open_too_and_a_cancelled_one_is_not(tmp_path: Path) -> None:
    async with shop(tmp_path, "concurrent = 1") as app:
        method: Any = app.served.channel.stream_stream("/sightline.v1.LensService/Search")
        silent = method(metadata=bearer(app.keys["app"]), timeout=60)
        await until(lambda: app.served.value("open_calls") == 1)
        assert await app.code() is CODE.RESOURCE_EXHAUSTED
        silent.cancel()
        await until(lambda: app.served.value("open_calls") == 0)
        assert await app.code() is CODE.OK


async def test_a_caller_at_its_share_leaves_the_other_slots_to_the_others(tmp_path: Path) -> None:
    async with shop(tmp_path, "share = 0.5", limits={"max_concurrent_calls": 4}) as app:
        index = app.served.index
        index.gate.clear()
        held = [app.waiting("app") for _ in range(2)]
        await until(lambda: app.served.door.admission.inside == 2)
        refusal = await app.refusal()
        assert (refusal.code, refusal.reason) == (CODE.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert refusal.details["ErrorInfo"].metadata["quota"] == "share"
        held += [app.waiting("other") for _ in range(2)]
        await until(lambda: app.served.door.admission.inside == 4)
        assert (await app.refusal("other")).reason == "OVERLOADED", "it has no share, and the server is full"
        index.gate.set()
        assert await asyncio.gather(*held) == [CODE.OK] * 4


async def test_bytes_of_messages_are_counted_and_delay_the_next_call(tmp_path: Path) -> None:
    size = asked().ByteSize()
    async with shop(tmp_path, f"bytes_per_minute = {60 * size}, bytes_burst = {size}") as app:
        assert await app.code() is CODE.OK
        assert await app.code() is CODE.OK, "no bytes were owed when it began"
        refusal = await app.refusal()
        assert (refusal.code, refusal.details["ErrorInfo"].metadata["quota"]) == (
            CODE.RESOURCE_EXHAUSTED,
            "bytes_per_minute",
        )
        assert (
            refusal.message
            == f"the quota of this caller is used up: {60 * size} bytes of requests a minute, {size} at once"
        )
        app.clock.now += 1.1
        assert await app.code() is CODE.OK


async def test_a_new_policy_changes_the_quota_and_keeps_what_was_used(tmp_path: Path) -> None:
    async with shop(tmp_path, "calls_per_minute = 6, calls_burst = 4") as app:
        assert [await app.code() for _ in range(5)] == [*[CODE.OK] * 4, CODE.RESOURCE_EXHAUSTED]
        app.change("calls_per_minute = 6, calls_burst = 6")
        assert [await app.code() for _ in range(3)] == [*[CODE.OK] * 2, CODE.RESOURCE_EXHAUSTED]
        app.change("calls_per_minute = 6, calls_burst = 4")
        delay = (await app.refusal()).details["RetryInfo"].retry_delay
        assert delay.ToTimedelta().total_seconds() == pytest.approx(30.0, abs=0.0021)
        app.change("")
        assert await app.code() is CODE.OK, "an empty table has no bound"


async def test_a_broken_policy_keeps_the_quota(tmp_path: Path) -> None:
    async with shop(tmp_path, "calls_per_minute = 2") as app:
        assert await app.code() is CODE.OK
        app.change("calls_per_minute = 1_000, concurent = 3")
        assert [await app.code() for _ in range(2)] == [CODE.OK, CODE.RESOURCE_EXHAUSTED]


async def test_the_default_quota_is_one_for_each_principal_that_has_none(tmp_path: Path) -> None:
    more = f"[principals.anonymous]\n{RIGHTS}[default_quota]\ncalls_per_minute = 1"
    async with shop(tmp_path, "calls_per_minute = 2", more) as app:
        assert [await app.code() for _ in range(3)] == [CODE.OK, CODE.OK, CODE.RESOURCE_EXHAUSTED]
        assert [await app.code("other") for _ in range(2)] == [CODE.OK, CODE.RESOURCE_EXHAUSTED]
        assert kinds(await events_of(app.served.search(asked())))[-1] == "done"
        assert (await failed(app.served.search(asked()))).reason == "QUOTA_EXCEEDED", "all without a credential are one"


async def test_refusals_are_counted_by_principal_and_bound(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path, policy("calls_per_minute = 1, concurrent = 9"))
    async with serving(index=FakeSnapshot("default"), rights=entrance.settings) as served:

        def search() -> Any:
            return served.search(asked(), metadata=bearer(entrance.app_key))

        assert kinds(await events_of(search()))[-1] == "done"
        known = {"principal": "app", "quota": "concurrent"}
        assert served.metrics.registry.get_sample_value("sightline_quota_refusals_total", known) == 0
        assert (await failed(search())).reason == "QUOTA_EXCEEDED"
        assert served.value("quota_refusals_total", principal="app", quota="calls_per_minute") == 1
        assert served.value("refusal_seconds_count", reason="QUOTA_EXCEEDED") == 1
        limits = ("concurrency", "open_calls", "other")
        assert sum(served.value("refused_calls_total", limit=limit) for limit in limits) == 0, "it is not load"


async def test_bad_tokens_of_an_address_are_refused_unverified_and_known_callers_go_on(tmp_path: Path) -> None:
    async with shop(tmp_path, "") as app:
        entrance = app.entrance
        entrance.policy.write_text(
            entrance.policy.read_text().replace("quota", 'subjects = ["app@shop.example"]\nquota')
        )
        assert app.files is not None
        app.files.check(force=True)
        known, new = entrance.issuer.token(), entrance.issuer.token(jti="new")
        app.keys["known"], app.keys["new"] = known, new
        assert await app.code("known") is CODE.OK
        app.keys["bad"] = entrance.issuer.token(key=OKPKey.generate_key("Ed25519", {"kid": "one"}))
        codes = [await app.code("bad") for _ in range(AT_ONCE + 3)]
        assert codes == [*[CODE.UNAUTHENTICATED] * (AT_ONCE + 1), *[CODE.RESOURCE_EXHAUSTED] * 2]

        refusal = await app.refusal("new")
        assert (refusal.code, refusal.reason) == (CODE.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert refusal.details["ErrorInfo"].metadata["limit"] == "failed_tokens"
        assert refusal.details["QuotaFailure"].violations[0].subject == "address"
        assert refusal.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == pytest.approx(RETRY_S)
        assert app.served.value("refused_calls_total", limit="failed_tokens") == 3
        assert [await app.code(name) for name in ("known", "app", "other")] == [CODE.OK] * 3, "key and known token"
        app.clock.now += 0.1
        assert await app.code("new") is CODE.OK
