"""Used grants in a real Redis: once for all replicas, and refused within the timeout while it is away."""

import asyncio
import hashlib
import json
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from sightline_server.cli.access_check import valkey as doctor
from sightline_server.domain.checks import Verdict
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings
from tests.support.asking import asked, events_of, kinds
from tests.support.authority import Authority
from tests.support.grants import MARK, ConsentService
from tests.support.lens import Failed, FakeSnapshot, Served, details_of, failed, serving
from tests.support.redis import Redis, free_port

RACES, AT_ONCE = 1000, 8
TIMEOUT_MS = 2000
"""Long enough for a machine that is busy with other tests; the tests of the timeout itself set their own."""


@pytest.fixture
def service(tmp_path: Path) -> ConsentService:
    return ConsentService(tmp_path)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path) as made:
        yield made


@asynccontextmanager
async def replica(service: ConsentService, **valkey: Any) -> AsyncIterator[Served]:
    """A server that notes used grants in Valkey, or in its process where no `url` is given."""
    store = {"store": "valkey"} if valkey else {}
    options: dict[str, Any] = {"valkey": {"timeout_ms": TIMEOUT_MS, **valkey}} if valkey else {}
    async with serving(index=FakeSnapshot("default"), consent=service.settings(**store), **options) as served:
        yield served


async def outcome(served: Served, grant: str) -> str:
    """`done`, or the reason of the refusal, of a search under `grant`."""
    try:
        return kinds(await events_of(served.search(asked(grant=grant))))[-1]
    except grpc.aio.AioRpcError as error:
        return str(details_of(error)["ErrorInfo"].reason)


async def refused(served: Served, grant: str) -> Failed:
    return await failed(served.search(asked(grant=grant)))


async def raced(service: ConsentService, one: Served, two: Served, races: int) -> Counter[tuple[str, ...]]:
    """The outcomes of grants that are sent to both replicas at the same time, a few grants at once."""
    counted: Counter[tuple[str, ...]] = Counter()
    waiting = iter(range(races))

    async def race() -> None:
        for _ in waiting:
            grant = service.grant()
            counted[tuple(sorted(await asyncio.gather(outcome(one, grant), outcome(two, grant))))] += 1

    await asyncio.gather(*(race() for _ in range(AT_ONCE)))
    return counted


@pytest.mark.timeout(300)
async def test_a_grant_that_is_raced_at_two_replicas_works_once_in_total(service: ConsentService, redis: Redis) -> None:
    async with replica(service, url=redis.url) as one, replica(service, url=redis.url) as two:
        counted = await raced(service, one, two, RACES)
        assert counted == {("GRANT_REPLAYED", "done"): RACES}
        taken = [each.value("stage_seconds_count", stage="decode") for each in (one, two)]
        assert sum(taken) == RACES, "the other one was refused before a pixel was decoded"
        assert all(taken), "either replica won some"
        seconds = [each.value("grant_store_seconds_count") for each in (one, two)]
        assert seconds == [RACES, RACES]


async def test_replicas_with_process_stores_take_a_grant_once_each(service: ConsentService) -> None:
    async with replica(service) as one, replica(service) as two:
        assert await raced(service, one, two, 20) == {("done", "done"): 20}


async def test_the_server_holds_a_hash_for_the_life_of_the_grant_and_nothing_else(
    service: ConsentService, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with replica(service, url=f"{redis.url}/3", key_prefix="shop:") as served:
            assert await outcome(served, service.grant(jti=MARK, rate=MARK)) == "done"
    key = f"shop:{hashlib.sha256(MARK.encode()).hexdigest()}"
    assert redis.say("INFO", "keyspace").split("# Keyspace")[1].strip().startswith("db3:keys=1,expires=1")
    assert redis.say("SWAPDB", "0", "3") == "+OK"
    assert redis.say("GET", key) == "$1\r\n1"
    assert 139_000 < int(redis.say("PTTL", key).removeprefix(":")) <= 141_000
    assert MARK not in "\n".join(str(vars(each)) for each in caplog.records)


def test_an_instant_in_the_past_would_let_every_grant_in(redis: Redis) -> None:
    """The reason for a duration: a server whose clock is ahead forgets a key with an instant at once."""
    past = str(int(time.time() * 1000) - 1000)
    assert [redis.say("SET", "grant", "1", "NX", "PXAT", past) for _ in range(2)] == ["+OK", "+OK"]
    assert [redis.say("SET", "grant", "1", "NX", "PX", "1000") for _ in range(2)] == ["+OK", "$-1"]


async def test_a_server_that_is_away_refuses_grants_and_comes_back_by_itself(
    service: ConsentService, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with replica(service, url=redis.url) as served:
        grant = service.grant()
        assert await outcome(served, service.grant()) == "done"
        redis.kill()
        for _ in range(3):
            refusal = await refused(served, grant)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "GRANT_STORE_UNAVAILABLE")
            assert refusal.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == pytest.approx(2.0)
        assert served.value("grant_store_failures_total", reason="connection") == 3
        lines = [each for each in caplog.records if "cannot note used grants" in each.getMessage()]
        assert [each.levelno for each in lines] == [logging.ERROR], "one line for an outage"
        redis.start()
        assert await outcome(served, grant) == "done", "without a restart, and the grant was not used up"
        assert await outcome(served, grant) == "GRANT_REPLAYED"


async def test_a_server_that_is_away_at_the_start_keeps_nobody_from_starting(
    service: ConsentService, tmp_path: Path
) -> None:
    redis = Redis(tmp_path)
    async with replica(service, url=redis.url) as served:
        assert await outcome(served, service.grant()) == "GRANT_STORE_UNAVAILABLE"
        with redis:
            assert await outcome(served, service.grant()) == "done"


async def test_a_frozen_server_refuses_within_the_timeout_and_no_answer_comes_late(
    service: ConsentService, redis: Redis
) -> None:
    async with replica(service, url=redis.url, timeout_ms=50) as served:
        await until_done(served, service)
        used = service.grant()
        while await outcome(served, used) not in ("done", "GRANT_REPLAYED"):
            pass
        redis.freeze()
        shown = time.monotonic()
        assert await outcome(served, service.grant()) == "GRANT_STORE_UNAVAILABLE"
        assert time.monotonic() - shown < 2.0, "50 ms, and what a busy machine adds"
        new = [service.grant() for _ in range(40)]
        for few in (new[at : at + 4] for at in range(0, len(new), 4)):
            assert {*await asyncio.gather(*(outcome(served, each) for each in few))} == {"GRANT_STORE_UNAVAILABLE"}
        failures = [served.value("grant_store_failures_total", reason=each) for each in ("timeout", "connection")]
        assert sum(failures) >= 41 and failures[0]
        callers = [served.search(asked(grant=service.grant())) for _ in range(4)]
        for each in callers:
            each.cancel()
        redis.freeze(frozen=False)
        await until_done(served, service)
        # What was asked before is answered now, on connections that are closed: an OK there must count for nobody.
        for _ in range(30):
            assert await outcome(served, used) in ("GRANT_REPLAYED", "GRANT_STORE_UNAVAILABLE")
        twice = [await outcome(served, each) for each in new for _ in range(2)]
        assert all(pair != ("done", "done") for pair in zip(twice[::2], twice[1::2], strict=True))


async def until_done(served: Served, service: ConsentService) -> None:
    """Returns when a new grant is accepted."""
    deadline = time.monotonic() + 30
    while await outcome(served, service.grant()) != "done":
        assert time.monotonic() < deadline, "the store did not come back"


@pytest.mark.parametrize(
    "setting", [("maxmemory", "1"), ("min-replicas-to-write", "1"), ("requirepass", "secret")], ids=lambda each: each[0]
)
async def test_a_server_that_cannot_write_refuses_grants(
    service: ConsentService, redis: Redis, setting: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert redis.say("CONFIG", "SET", *setting) == "+OK"
    async with replica(service, url=redis.url) as served:
        assert (await refused(served, service.grant())).reason == "GRANT_STORE_UNAVAILABLE"
        assert served.value("grant_store_failures_total", reason="refused") == 1
    assert not re.search(r"[0-9a-f]{64}", caplog.text), "the errors of the server name the key"


async def test_a_password_is_read_again_for_each_connection(service: ConsentService, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    with Redis(tmp_path, requirepass="right") as redis:
        async with replica(service, url=redis.url, password_file=password) as served:
            assert await outcome(served, service.grant()) == "GRANT_STORE_UNAVAILABLE"
            password.write_text("right\n")
            assert await outcome(served, service.grant()) == "done"
            password.unlink()
            assert await outcome(served, service.grant()) == "done", "the open connection goes on"


async def test_tls_is_verified(service: ConsentService, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), tmp_path / "stranger.pem"
    stranger.write_bytes(authority.root_pem(stranger=True))
    files = {"tls-cert-file": authority.cert, "tls-key-file": authority.key, "tls-ca-cert-file": authority.root}
    with Redis(tmp_path, tls=True, **files, **{"tls-auth-clients": "no"}) as redis:
        async with replica(service, url=redis.url, ca_file=authority.root) as served:
            assert await outcome(served, service.grant()) == "done"
            assert served.value("grant_store_failures_total", reason="connection") == 0
        async with replica(service, url=redis.url, ca_file=stranger) as served:
            assert await outcome(served, service.grant()) == "GRANT_STORE_UNAVAILABLE"
        plain = redis.url.replace("rediss://", "redis://")
        async with replica(service, url=plain) as served:
            assert await outcome(served, service.grant()) == "GRANT_STORE_UNAVAILABLE"


async def test_another_machine_without_tls_needs_a_setting(service: ConsentService) -> None:
    with pytest.raises(SightlineError, match="without encryption") as caught:
        async with replica(service, url="redis://valkey.shop.example:6379"):
            pass
    assert caught.value.kind is ErrorKind.CONFIGURATION
    async with replica(service, url="redis://valkey.invalid:6379", insecure=True, timeout_ms=50) as served:
        assert await outcome(served, service.grant()) == "GRANT_STORE_UNAVAILABLE"


def test_the_doctor_says_whether_it_answers(redis: Redis, tmp_path: Path) -> None:
    def checks(**valkey: Any) -> list[tuple[Verdict, str]]:
        keys = {"jwks_file": "/keys.json", "issuer": "i", "audience": "a", "store": "valkey"}
        settings = Settings.model_validate({"consent": keys, "valkey": valkey})
        return [(each.verdict, each.found + each.hint) for each in doctor(settings)]

    assert list(doctor(Settings())) == []
    [(verdict, text)] = checks(url=redis.url)
    assert (verdict, re.sub(r"[0-9]+\.[0-9.]+", "V", text)) == (Verdict.OK, f"Redis V answers at V:{redis.port}")
    redis.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    [(verdict, text)] = checks(url=redis.url)
    assert verdict is Verdict.WARN and "noeviction" in text
    redis.say("CONFIG", "SET", "requirepass", "secret")
    [(verdict, text)] = checks(url=redis.url)
    assert verdict is Verdict.WARN and "cannot be used" in text
    [(verdict, text)] = checks(url=f"redis://127.0.0.1:{free_port()}")
    assert verdict is Verdict.WARN and "cannot be used" in text
    [(verdict, text)] = checks(url="redis://valkey.shop.example")
    assert verdict is Verdict.FAIL and "without encryption" in text
    [(verdict, text)] = checks(url=redis.url, password_file=tmp_path / "missing")
    assert verdict is Verdict.FAIL and "cannot read" in text


def test_settings_reach_workers_without_a_password(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(MARK)
    keys = {"jwks_file": "/keys.json", "issuer": "i", "audience": "a", "store": "valkey"}
    settings = Settings.model_validate(
        {"consent": keys, "server": {"workers": 2}, "valkey": {"url": "redis://localhost", "password_file": path}}
    )
    assert MARK not in json.dumps(settings.model_dump(mode="json"))
