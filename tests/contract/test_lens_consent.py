"""Consent grants through a real channel: what counts, what is refused before a pixel is decoded, and in which order."""

import base64
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey
from prometheus_client import generate_latest

from sightline.v1 import lens_service_pb2 as pb
from sightline_server.app.reload import CatalogReloader, Reloading
from sightline_server.rpc.lens.service import SERVICE, search_embeddings_method, search_method
from sightline_server.settings import LimitSettings
from tests.support.asking import PHOTO, asked, events_of, kinds
from tests.support.grants import MARK, ConsentService, hash_of, header
from tests.support.lens import Failed, FakeSnapshot, Served, failed, serving
from tests.support.pictures import encode, gradient
from tests.support.tokens import signed

CODE = grpc.StatusCode
AUDIT = "sightline_server.access.audit"
OTHER_PHOTO = encode(gradient(48, 48))
Make = Callable[[ConsentService], str]


@pytest.fixture
def service(tmp_path: Path) -> ConsentService:
    return ConsentService(tmp_path)


@asynccontextmanager
async def consenting(service: ConsentService, mode: str = "required", **options: Any) -> AsyncIterator[Served]:
    """A server whose catalog `default` needs what `mode` says; `free` is off and `asking` is optional."""
    catalogs: dict[str, Any] = {name: {"path": f"/{name}"} for name in ("default", "free", "asking")}
    catalogs["free"]["consent"], catalogs["asking"]["consent"] = "off", "optional"
    consent = service.settings(mode, **options.pop("consent", {}))
    async with serving(
        index=FakeSnapshot("default"),
        others=[FakeSnapshot("free"), FakeSnapshot("asking")],
        consent=consent,
        **{"catalogs": catalogs, **options},
    ) as served:
        yield served


async def answered(served: Served, grant: str = "", metadata: Any = None, **fields: Any) -> bool:
    """Returns whether a search under `grant`, in the message, succeeds."""
    return kinds(await events_of(served.search(asked(grant=grant, **fields), metadata=metadata)))[-1] == "done"


async def refused(served: Served, grant: str = "", metadata: Any = None, **fields: Any) -> Failed:
    """The refusal of a search under `grant`, in the message; nothing was decoded for it."""
    before = decoded(served)
    refusal = await failed(served.search(asked(grant=grant, **fields), metadata=metadata))
    assert (refusal.events, decoded(served)) == ([], before)
    return refusal


def decoded(served: Served) -> float:
    """The number of photos whose decoding was begun."""
    return served.value("stage_seconds_count", stage="decode")


def changed(part: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Make:
    """A grant whose header (0) or claims (1) were changed after it was signed."""

    def make(service: ConsentService) -> str:
        parts = service.grant().split(".")
        content = json.loads(base64.urlsafe_b64decode(parts[part] + "=="))
        parts[part] = base64.urlsafe_b64encode(json.dumps(change(content)).encode()).rstrip(b"=").decode()
        return ".".join(parts)

    return make


def with_claims(**changes: Any) -> Make:
    return lambda service: service.grant(**changes)


def in_seconds(**offsets: int) -> Make:
    """A grant with times relative to now."""

    def make(service: ConsentService) -> str:
        times: dict[str, Any] = {name: int(time.time()) + offset for name, offset in offsets.items()}
        return service.grant(**times)

    return make


def symmetric(service: ConsentService) -> str:
    """The attack on servers that let a text choose its algorithm: the public key as a secret."""
    key = OctKey.import_key(service.path.read_bytes())
    return service.grant(key=key, header={"alg": "HS256", "kid": "one"})


def payload(content: bytes) -> Make:
    return lambda service: signed({"alg": "EdDSA", "typ": "sightline-grant+jwt", "kid": "one"}, content, service.key)


INVALID = "GRANT_INVALID"
BAD: dict[str, tuple[Make, str, str]] = {
    "not a token": (lambda service: MARK * 3, INVALID, "malformed"),
    "two parts": (lambda service: service.grant().rpartition(".")[0], INVALID, "malformed"),
    "four parts": (lambda service: service.grant() + f".{MARK}", INVALID, "malformed"),
    "letters beyond ASCII": (lambda service: service.grant() + "\u00e9", INVALID, "malformed"),
    "cut": (lambda service: service.grant()[:-20], INVALID, "signature"),
    "unsigned": (changed(0, lambda head: {**head, "alg": "none"}), INVALID, "algorithm"),
    "without a signature": (lambda service: service.grant().rpartition(".")[0] + ".", INVALID, "signature"),
    "no alg": (changed(0, lambda head: {"typ": head["typ"], "kid": "one"}), INVALID, "malformed"),
    "symmetric": (symmetric, INVALID, "algorithm"),
    "alg of another key": (changed(0, lambda head: {**head, "alg": "ES256"}), INVALID, "fit its key"),
    "another claim": (changed(1, lambda claims: {**claims, "catalog": "free"}), INVALID, "signature"),
    "header is a list": (lambda service: "W10." + service.grant().partition(".")[2], INVALID, "malformed"),
    "wrong typ": (lambda service: service.grant(header={"typ": "JWT"}), INVALID, "another type"),
    "no typ": (lambda service: service.grant(header={"typ": None}), INVALID, "another type"),
    "typ is a number": (changed(0, lambda head: {**head, "typ": 5}), INVALID, "another type"),
    "critical": (changed(0, lambda head: {**head, "crit": ["exp"], "exp": 1}), INVALID, "fit its key"),
    "unknown kid": (lambda service: service.grant(header={"kid": MARK}), INVALID, "not in the JWKS"),
    "kid is a list": (changed(0, lambda head: {**head, "kid": ["one"]}), INVALID, "not in the JWKS"),
    "unknown key": (
        lambda service: service.grant(key=OKPKey.generate_key("Ed25519", {"kid": "one"})),
        INVALID,
        "signature",
    ),
    "claims are a list": (payload(b"[]"), INVALID, "not a JSON object"),
    "claims are not JSON": (payload(b"\xff{"), INVALID, "not a JSON object"),
    "claims nest": (payload(b"[" * 2000), INVALID, "not a JSON object"),
    "wrong iss": (with_claims(iss="https://evil.example"), INVALID, "claim iss"),
    "no iss": (with_claims(iss=None), INVALID, "claim iss"),
    "wrong aud": (with_claims(aud="other"), INVALID, "claim aud"),
    "aud of others": (with_claims(aud=["other", "sightline2"]), INVALID, "claim aud"),
    "no aud": (with_claims(aud=None), INVALID, "claim aud"),
    "names a person": (with_claims(sub=MARK), INVALID, "claim sub"),
    "expired": (in_seconds(iat=-100, exp=-40), "GRANT_EXPIRED", "expired"),
    "expired, of another server": (
        lambda service: service.grant(iat=int(time.time()) - 100, exp=int(time.time()) - 40, aud="other"),
        INVALID,
        "claim aud",
    ),
    "no exp": (with_claims(exp=None), INVALID, "claim exp"),
    "exp is a text": (with_claims(exp="tomorrow"), INVALID, "claim exp"),
    "exp is true": (with_claims(exp=True), INVALID, "claim exp"),
    "exp is NaN": (with_claims(exp=float("nan")), INVALID, "claim exp"),
    "exp is huge": (with_claims(exp=10**300), INVALID, "claim exp"),
    "lives too long": (in_seconds(exp=130), INVALID, "at most 120"),
    "ends before it begins": (in_seconds(iat=5, exp=4), INVALID, "at most 120"),
    "no iat": (with_claims(iat=None), INVALID, "claim iat"),
    "issued in the future": (in_seconds(iat=40, exp=90), INVALID, "not valid yet"),
    "not yet valid": (in_seconds(nbf=40), INVALID, "not valid yet"),
    "nbf is a text": (with_claims(nbf="soon"), INVALID, "claim nbf"),
    "no jti": (with_claims(jti=None), INVALID, "claim jti"),
    "empty jti": (with_claims(jti=""), INVALID, "claim jti"),
    "jti is a number": (with_claims(jti=7), INVALID, "claim jti"),
    "long jti": (with_claims(jti="j" * 129), INVALID, "claim jti"),
    "another purpose": (with_claims(purpose="advertising"), "GRANT_PURPOSE", "another purpose"),
    "purpose in other letters": (with_claims(purpose="Visual-Search"), "GRANT_PURPOSE", "another purpose"),
    "no purpose": (with_claims(purpose=None), INVALID, "claim purpose"),
    "purpose is a list": (with_claims(purpose=["visual-search"]), INVALID, "claim purpose"),
    "another photo": (with_claims(pht=hash_of(OTHER_PHOTO)), "GRANT_OTHER_PHOTO", "another photo"),
    "no pht": (with_claims(pht=None), INVALID, "claim pht"),
    "pht in hexadecimal": (with_claims(pht="ab" * 32), INVALID, "claim pht"),
    "pht with padding": (with_claims(pht=hash_of(PHOTO) + "="), INVALID, "claim pht"),
    "another catalog": (with_claims(catalog="asking"), INVALID, "another catalog"),
    "catalog is a list": (with_claims(catalog=["default"]), INVALID, "claim catalog"),
    "act is a sentence": (with_claims(act="the person tapped"), INVALID, "claim act"),
    "ntc is a number": (with_claims(ntc=3), INVALID, "claim ntc"),
    "rate is empty": (with_claims(rate=""), INVALID, "claim rate"),
    "over our bound": (with_claims(more="x" * 4000), INVALID, "too long"),
    "a megabyte": (lambda service: MARK * 160_000, INVALID, "too long"),
}


async def test_bad_grants_are_refused_before_decoding_and_without_a_trace_of_them(
    service: ConsentService, caplog: pytest.LogCaptureFixture
) -> None:
    made = {name: (make(service), *rest) for name, (make, *rest) in BAD.items()}
    with caplog.at_level(logging.DEBUG):
        async with consenting(service) as served:
            for name, (grant, reason, said) in made.items():
                caplog.clear()
                refusal = await refused(served, grant)
                assert (refusal.code, refusal.reason) == (CODE.PERMISSION_DENIED, reason), name
                [record] = [each for each in caplog.records if each.name == AUDIT and each.levelno == logging.WARNING]
                assert said in str(getattr(record, "reason", "")), name
                assert (getattr(record, "method", ""), getattr(record, "catalog", "")) == ("Search", "default")
                shown = "\n".join(str(vars(each)) for each in caplog.records) + str(refusal)
                assert MARK not in shown, name
                assert all(part not in shown for part in grant.split(".") if len(part) > 5), name
            assert decoded(served) == 0
            assert served.engine.models["detector"].batches == []
            assert await answered(served, service.grant()), "and a good grant is served"


async def test_a_bad_grant_in_the_metadata_is_refused_before_the_message_is_read(service: ConsentService) -> None:
    async with consenting(service, server={"max_metadata_bytes": 64 * 1024}) as served:
        for name in ("not a token", "unsigned", "wrong aud", "expired", "another purpose", "over our bound"):
            make, reason, _ = BAD[name]
            call: Any = served.channel.stream_stream("/sightline.v1.LensService/Search")(
                timeout=30, metadata=header(make(service))
            )
            assert await call.code() is CODE.PERMISSION_DENIED, name
            refusal = await refused(served, metadata=header(make(service)))
            assert (refusal.code, refusal.reason) == (CODE.PERMISSION_DENIED, reason), name
        assert served.value("request_bytes") == 0


async def test_a_search_without_a_grant_needs_a_catalog_that_allows_it(service: ConsentService) -> None:
    async with consenting(service) as served:
        refusal = await refused(served)
        assert (refusal.code, refusal.reason) == (CODE.FAILED_PRECONDITION, "GRANT_MISSING")
        assert await answered(served, catalog="asking")
        assert await answered(served, catalog="free")
        # A grant that is not checked must not seem to be.
        for options in ({"grant": service.grant()}, {"metadata": header(service.grant())}):
            unchecked = await refused(served, catalog="free", **options)
            assert (unchecked.code, unchecked.reason) == (CODE.UNIMPLEMENTED, "NOT_BUILT")
        assert (await refused(served, service.grant(aud="other"), catalog="asking")).reason == "GRANT_INVALID"


@pytest.mark.parametrize("where", ["message", "metadata", "both"])
async def test_a_grant_works_once(service: ConsentService, where: str) -> None:
    grant = service.grant(catalog="default", act="tap", ntc="2026-11", rate="pseudonym", nbf=int(time.time()))
    options: dict[str, Any] = {}
    if where != "metadata":
        options["grant"] = grant
    if where != "message":
        options["metadata"] = header(grant)
    async with consenting(service) as served:
        assert await answered(served, **options)
        replay = await refused(served, **options)
        assert (replay.code, replay.reason) == (CODE.PERMISSION_DENIED, "GRANT_REPLAYED")
        # The same act signed again is the same act.
        claims = json.loads(base64.urlsafe_b64decode(grant.split(".")[1] + "=="))
        again = service.grant(**{**claims, "exp": claims["exp"] + 1})
        assert (await refused(served, again)).reason == "GRANT_REPLAYED"
        assert await answered(served, service.grant()), "another act is another grant"


async def test_a_grant_of_an_optional_catalog_works_once_too(service: ConsentService) -> None:
    grant = service.grant(catalog="asking")
    async with consenting(service, "off") as served:
        assert await answered(served, grant, catalog="asking")
        assert (await refused(served, grant, catalog="asking")).reason == "GRANT_REPLAYED"


async def test_a_refusal_leaves_the_grant_unused(service: ConsentService) -> None:
    grant = service.grant()
    async with consenting(service, limits={"max_concurrent_calls": 2}) as served:
        wrong = await refused(served, grant, photo=OTHER_PHOTO)
        assert wrong.reason == "GRANT_OTHER_PHOTO"
        assert (await refused(served, grant, max_objects=-1)).reason == "INVALID_REQUEST"
        served.engine.models["detector"].gate.clear()
        inside = [served.search(asked(grant=service.grant())) for _ in range(2)]
        for call in inside:
            await call.read()
        full = await refused(served, grant)
        assert full.code is CODE.RESOURCE_EXHAUSTED
        served.engine.models["detector"].gate.set()
        for call in inside:
            await events_of(call)
        assert await answered(served, grant), "overload did not cost the person a new tap"


@pytest.mark.parametrize(
    ("metadata", "fields", "field"),
    [
        ({"sightline-catalog": "asking"}, {}, "catalog"),
        ({"sightline-catalog": "default"}, {"catalog": "asking"}, "catalog"),
        ({"sightline-lane": "batch"}, {}, "lane"),
        ({"sightline-lane": "interactive"}, {"lane": pb.LANE_BATCH}, "lane"),
        ({"sightline-catalog": "default"}, {"lane": pb.LANE_BATCH}, "lane"),
        ({"sightline-lane": "express"}, {}, "sightline-lane"),
        ({"sightline-lane": ""}, {}, "sightline-lane"),
        ({"sightline-catalog": ""}, {}, "sightline-catalog"),
    ],
)
async def test_metadata_that_differs_from_the_message_is_invalid(
    service: ConsentService, metadata: dict[str, str], fields: dict[str, Any], field: str
) -> None:
    async with consenting(service) as served:
        refusal = await refused(served, service.grant(), tuple(metadata.items()), **fields)
        assert (refusal.code, refusal.reason) == (CODE.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert refusal.details["BadRequest"].field_violations[0].field == field


async def test_two_grants_in_one_call_are_invalid(service: ConsentService) -> None:
    async with consenting(service) as served:
        differing = await refused(served, service.grant(), header(service.grant()))
        twice = await refused(served, metadata=header(service.grant()) * 2)
        assert [differing.code, twice.code] == [CODE.INVALID_ARGUMENT] * 2


async def test_metadata_that_agrees_is_served_and_decides_early(service: ConsentService) -> None:
    named = (("sightline-catalog", "asking"), ("sightline-lane", "batch"))
    async with consenting(service) as served:
        assert await answered(served, metadata=named, catalog="asking", lane=pb.LANE_BATCH)
        assert await answered(served, service.grant(), (("sightline-catalog", "default"),))
        call: Any = served.channel.stream_stream("/sightline.v1.LensService/Search")(
            timeout=30, metadata=(*named, *header(service.grant(catalog="default")))
        )
        assert await call.code() is CODE.PERMISSION_DENIED


async def test_clocks_may_differ_by_the_leeway(service: ConsentService) -> None:
    now = int(time.time())
    async with consenting(service, consent={"leeway_s": 30}) as served:
        assert await answered(served, service.grant(iat=now - 100, exp=now - 20))
        assert await answered(served, service.grant(iat=now + 20, exp=now + 100, nbf=now + 20))
        assert (await refused(served, service.grant(iat=now - 100, exp=now - 31))).reason == "GRANT_EXPIRED"


async def test_other_forms_of_a_good_grant_count(service: ConsentService) -> None:
    elliptic = ECKey.generate_key("P-256", {"kid": "two"})
    async with consenting(service) as served:
        assert await answered(served, service.grant(header={"typ": "application/Sightline-Grant+JWT"}))
        assert await answered(served, service.grant(header={"kid": None}))
        assert await answered(served, service.grant(aud=["other", "sightline"], more={"any": "claim"}))
        service.publish(service.key, elliptic)
        check(served)
        assert await answered(served, service.grant(key=elliptic, header={"alg": "ES256"}))
        assert (await refused(served, service.grant(header={"kid": None}))).reason == "GRANT_INVALID"


def check(served: Served) -> None:
    """Reads the files again."""
    assert served.front.watched_files is not None
    served.front.watched_files.check()


async def test_rotated_keys_are_valid_side_by_side_and_then_not(service: ConsentService) -> None:
    old, new = service.key, OKPKey.generate_key("Ed25519", {"kid": "two"})
    async with consenting(service) as served:
        assert (await refused(served, service.grant(key=new))).reason == "GRANT_INVALID"
        service.publish(old, new)
        check(served)
        assert await answered(served, service.grant()) and await answered(served, service.grant(key=new))
        service.publish(new)
        check(served)
        assert await answered(served, service.grant(key=new))
        assert (await refused(served, service.grant())).reason == "GRANT_INVALID"


async def test_a_call_whose_key_is_removed_while_its_photo_arrives_goes_on(service: ConsentService) -> None:
    async with consenting(service) as served:
        grant = service.grant()
        call: Any = served.channel.stream_stream(
            "/sightline.v1.LensService/Search",
            request_serializer=pb.SearchRequest.SerializeToString,
            response_deserializer=pb.SearchResponse.FromString,
        )(timeout=30, metadata=header(grant))
        # The server reads the grant before the message: the answer to a second call comes after that.
        assert await answered(served, service.grant())
        service.publish(OKPKey.generate_key("Ed25519", {"kid": "two"}))
        check(served)
        await call.write(asked())
        await call.done_writing()
        assert kinds(await events_of(call))[-1] == "done"


BREAKS: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_text(path.read_text()[:40]),
    "no key": lambda path: path.write_text('{"keys": []}'),
    "private key": lambda path: path.write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "d": MARK}]})),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_jwks_that_breaks_while_serving_keeps_the_old_keys(
    service: ConsentService, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with consenting(service) as served:
        assert served.value("access_files_usable", file="grants_jwks") == 1
        good = service.path.read_bytes()
        BREAKS[name](service.path)
        for _ in range(3):
            check(served)
        assert served.value("access_files_usable", file="grants_jwks") == 0
        [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert str(service.path) in record.getMessage() and MARK not in record.getMessage()
        assert await answered(served, service.grant())
        service.path.write_bytes(good)
        check(served)
        assert served.value("access_files_usable", file="grants_jwks") == 1


async def test_a_hangup_reads_the_keys_at_once(service: ConsentService) -> None:
    new = OKPKey.generate_key("Ed25519", {"kid": "two"})
    async with consenting(service) as served:
        service.publish(new)
        shelf: Any = type("NoCatalogs", (), {"folders": {}})()
        reloading = Reloading(None, CatalogReloader(shelf, shelf), served.front.watched_files)
        reloading.on_hangup()
        assert reloading._task is not None
        await reloading._task
        assert await answered(served, service.grant(key=new))


async def test_a_pseudonym_has_ten_photos_a_minute_and_is_named_nowhere(
    service: ConsentService, caplog: pytest.LogCaptureFixture
) -> None:
    pseudonym = f"{MARK}-of-today"
    with caplog.at_level(logging.DEBUG):
        async with consenting(service) as served:
            outcomes = [await answered(served, service.grant(rate=pseudonym)) for _ in range(10)]
            assert outcomes == [True] * 10
            grant = service.grant(rate=pseudonym)
            refusal = await refused(served, grant)
            assert (refusal.code, refusal.reason) == (CODE.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
            assert set(refusal.details) == {"ErrorInfo", "RetryInfo", "QuotaFailure"}
            info = refusal.details["ErrorInfo"].metadata
            assert (info["quota"], info["subject"]) == ("photos_per_minute", "pseudonym")
            [violation] = refusal.details["QuotaFailure"].violations
            assert (violation.subject, violation.description) == ("pseudonym", refusal.message)
            assert refusal.message == "the quota of this person is used up: 10 photos a minute, 10 at once"
            assert 0 < refusal.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() <= 6.01
            assert served.value("quota_refusals_total", principal="anonymous", quota="photos_per_minute") == 1
            assert await answered(served, service.grant(rate="another")), "others are served"
            assert await answered(served, service.grant()), "as are grants without a pseudonym"
            assert await answered(served, catalog="free")
            metrics = generate_latest(served.metrics.registry).decode()
    shown = "\n".join(str(vars(each)) for each in caplog.records) + str(refusal) + metrics
    assert MARK not in shown and hashlib.sha256(pseudonym.encode()).hexdigest() not in shown


async def test_a_refusal_for_a_pseudonym_leaves_the_grant_unused(service: ConsentService) -> None:
    quota = {"photos_per_minute": 600, "burst": 1}
    async with consenting(service, pseudonym_quota=quota) as served:
        assert await answered(served, service.grant(rate="today"))
        grant = service.grant(rate="today")
        other = await refused(served, service.grant(rate="today", pht=hash_of(OTHER_PHOTO)))
        assert other.reason == "GRANT_OTHER_PHOTO", "and it took no photo"
        deadline = time.monotonic() + 20
        while not await tried(served, grant):
            assert time.monotonic() < deadline
        assert (await refused(served, grant)).reason in ("GRANT_REPLAYED", "QUOTA_EXCEEDED")


async def tried(served: Served, grant: str) -> bool:
    """Returns whether a search under `grant` is answered, or else refused for a quota."""
    try:
        return await answered(served, grant)
    except grpc.aio.AioRpcError as error:
        if error.code() is not CODE.RESOURCE_EXHAUSTED:
            raise
        return False


async def test_a_quota_of_nought_photos_counts_none(service: ConsentService) -> None:
    async with consenting(service, pseudonym_quota={"photos_per_minute": 0}) as served:
        assert [await answered(served, service.grant(rate="today")) for _ in range(12)] == [True] * 12


async def test_a_full_store_refuses_grants_and_forgets_none(service: ConsentService) -> None:
    async with consenting(service, consent={"store_size": 2}) as served:
        first, second, third = (service.grant() for _ in range(3))
        assert await answered(served, first) and await answered(served, second)
        full = await refused(served, third)
        assert (full.code, full.reason) == (CODE.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert full.details["ErrorInfo"].metadata["limit"] == "consent_store"
        assert (await refused(served, first)).reason == "GRANT_REPLAYED"
        assert await answered(served, catalog="free"), "searches without a grant go on"


async def test_concurrent_uses_of_one_grant_are_one_use(service: ConsentService) -> None:
    grant = service.grant()
    async with consenting(service) as served:
        calls = [served.search(asked(grant=grant)) for _ in range(8)]
        outcomes = []
        for call in calls:
            try:
                outcomes.append(kinds(await events_of(call))[-1])
            except grpc.aio.AioRpcError as error:
                outcomes.append(error.code().name)
        assert sorted(outcomes) == ["PERMISSION_DENIED"] * 7 + ["done"]


async def test_servers_that_share_a_folder_count_a_grant_once_in_total(service: ConsentService, tmp_path: Path) -> None:
    """As the workers of one server do, and servers with `store_folder`."""
    shared = {"store_folder": tmp_path / "used"}
    async with consenting(service, consent=shared) as one, consenting(service, consent=shared) as two:
        grant = service.grant()
        assert await answered(one, grant)
        assert (await refused(two, grant)).reason == "GRANT_REPLAYED"
        assert await answered(two, service.grant())
        for path in (tmp_path / "used").iterdir():
            path.unlink()
        (tmp_path / "used").rmdir()
        away = await refused(one, service.grant())
        assert (away.code, away.reason) == (CODE.UNAVAILABLE, "GRANT_STORE_UNAVAILABLE")
        assert "RetryInfo" in away.details


async def test_servers_with_their_own_stores_count_a_grant_once_each(service: ConsentService) -> None:
    async with consenting(service) as one, consenting(service) as two:
        grant = service.grant()
        assert await answered(one, grant) and await answered(two, grant)
        assert [(await refused(each, grant)).reason for each in (one, two)] == ["GRANT_REPLAYED"] * 2


def test_every_method_that_searches_takes_grants() -> None:
    """A method that searches what a person chose without a grant would be a way around consent."""
    photos, embeddings = search_method(LimitSettings()), search_embeddings_method(LimitSettings())
    assert {each.name for each in SERVICE.methods} - {"GetServerInfo"} == {photos.name, embeddings.name}
    assert photos.grant is not None and embeddings.grant is not None
