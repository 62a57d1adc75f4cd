"""Callers of a server with a policy, through a real channel: good credentials, bad ones, and what refusals reveal."""

import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from sightline.v1 import lens_service_pb2 as pb
from sightline.v1 import lens_service_pb2_grpc
from sightline_server.app.reload import CatalogReloader, Reloading
from tests.support.asking import asked, events_of, kinds
from tests.support.authority import Authority
from tests.support.lens import FakeSnapshot, Served, channel_to, failed, serving, until
from tests.support.tokens import Entrance, add_key, bearer, signed

CODE = grpc.StatusCode
AUDIT = "sightline_server.access.audit"
Make = Callable[[Entrance], Any]


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    return Entrance(tmp_path)


@asynccontextmanager
async def guarded(entrance: Entrance, authority: Authority | None = None, **options: Any) -> AsyncIterator[Served]:
    """A server with the policy of `entrance`, for callers with certificates, too."""
    authority = authority or Authority(entrance.policy.parent)
    files = {"tls_cert": authority.cert, "tls_key": authority.key, "tls_client_ca": authority.root}
    options["server"] = {**files, **options.get("server", {})}
    catalogs = {name: {"path": f"/{name}"} for name in ("default", "shop", "secret")}
    async with serving(
        index=FakeSnapshot("default"),
        others=[FakeSnapshot("shop"), FakeSnapshot("secret")],
        credentials=authority.credentials(client=True),
        rights=entrance.settings,
        **{"catalogs": catalogs, **options},
    ) as served:
        yield served


async def answered(served: Served, credential: str, **fields: Any) -> bool:
    """Returns whether a search with `credential` succeeds."""
    return kinds(await events_of(served.search(asked(**fields), metadata=bearer(credential))))[-1] == "done"


@pytest.mark.parametrize(
    "make",
    [
        lambda entrance: entrance.app_key,
        lambda entrance: entrance.issuer.token(),
        lambda entrance: entrance.issuer.token(header={"typ": "at+jwt"}),
        lambda entrance: entrance.issuer.token(without=("typ", "kid", "iat")),
        lambda entrance: entrance.issuer.token(aud=["other", "sightline"], nbf=int(time.time()) + 20),
        lambda entrance: entrance.issuer.token(exp=int(time.time()) - 20, more={"any": ["claim"]}),
    ],
    ids=["key", "token", "at+jwt", "without-kid", "several-audiences", "within-the-leeway"],
)
async def test_a_good_credential_is_admitted(entrance: Entrance, make: Make) -> None:
    async with guarded(entrance) as served:
        assert await answered(served, make(entrance))


def with_header(value: str) -> Make:
    return lambda entrance: (("authorization", value),)


def token(**changes: Any) -> Make:
    return lambda entrance: bearer(entrance.issuer.token(**changes))


def altered(entrance: Entrance) -> Any:
    head, claims, signature = entrance.issuer.token().split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    decoded["sub"] = "root@shop.example"
    changed = base64.urlsafe_b64encode(json.dumps(decoded).encode()).rstrip(b"=").decode()
    return bearer(f"{head}.{changed}.{signature}")


def symmetric(entrance: Entrance) -> Any:
    """The attack on servers that let a token choose its algorithm: the public key as a secret."""
    public = entrance.issuer.path.read_bytes()
    return bearer(entrance.issuer.token(key=OctKey.import_key(public), header={"alg": "HS256", "kid": "one"}))


def payload(data: bytes) -> Make:
    def make(entrance: Entrance) -> Any:
        return bearer(signed({"alg": "EdDSA", "kid": "one"}, data, entrance.issuer.key))

    return make


def raw_header(data: bytes) -> Make:
    def make(entrance: Entrance) -> Any:
        head = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
        return bearer(f"{head}.e30.c2lnbmF0dXJl")

    return make


NOW = time.time
DAY_S = 86_400
"""The test may begin many minutes after its tokens were made."""
BAD: dict[str, tuple[Make, str, str]] = {
    "nothing": (lambda entrance: (), "MISSING", "no credential"),
    "empty": (with_header("Bearer "), "INVALID", "malformed"),
    "no scheme": (with_header("s3cr3t"), "INVALID", "not `Bearer`"),
    "other scheme": (with_header("Basic czNjcjN0"), "INVALID", "not `Bearer`"),
    "two headers": (lambda entrance: bearer(entrance.app_key) * 2, "INVALID", "several"),
    "not a token": (with_header("Bearer s3cr3t"), "INVALID", "malformed"),
    "two parts": (with_header("Bearer e30.e30"), "INVALID", "malformed"),
    "deeply nested header": (raw_header(b"[" * 3000), "INVALID", "malformed"),
    "header is a list": (raw_header(b'["alg"]'), "INVALID", "malformed"),
    "alg none": (token(header={"alg": "none"}), "INVALID", "algorithm"),
    "alg None": (raw_header(b'{"alg":"None","kid":"one"}'), "INVALID", "algorithm"),
    "alg is a list": (raw_header(b'{"alg":["EdDSA"],"kid":"one"}'), "INVALID", "algorithm"),
    "public key as a secret": (symmetric, "INVALID", "algorithm"),
    "not in the list": (
        token(key=RSAKey.generate_key(2048, {"kid": "one"}), header={"alg": "RS512"}),
        "INVALID",
        "algorithm",
    ),
    "alg of another key": (
        token(key=ECKey.generate_key("P-256", {"kid": "one"}), header={"alg": "ES256"}),
        "INVALID",
        "does not fit its key",
    ),
    "key of a stranger": (token(key=OKPKey.generate_key("Ed25519", {"kid": "one"})), "INVALID", "signature"),
    "unknown kid": (token(header={"kid": "two"}), "INVALID", "not in the JWKS"),
    "kid is a number": (raw_header(b'{"alg":"EdDSA","kid":1}'), "INVALID", "not in the JWKS"),
    "key in the token": (
        token(key=OKPKey.generate_key("Ed25519"), header={"kid": "x", "jwk": {"kty": "OKP"}}),
        "INVALID",
        "not in the JWKS",
    ),
    "critical extension": (
        raw_header(b'{"alg":"EdDSA","kid":"one","crit":["x"],"x":1}'),
        "INVALID",
        "does not fit",
    ),
    "changed after signing": (altered, "INVALID", "signature"),
    "a consent grant": (token(header={"typ": "sightline-grant+jwt"}), "INVALID", "another type"),
    "claims are a list": (payload(b"[]"), "INVALID", "not a JSON object"),
    "claims are nested deeply": (payload(b"[" * 9000), "INVALID", "not a JSON object"),
    "wrong aud": (token(aud="other"), "INVALID", "claim aud"),
    "aud is a number": (token(aud=7), "INVALID", "claim aud"),
    "no aud": (token(without=("aud",)), "INVALID", "lacks a claim"),
    "wrong iss": (token(iss="https://evil.example"), "INVALID", "claim iss"),
    "no iss": (token(without=("iss",)), "INVALID", "lacks a claim"),
    "expired": (token(exp=int(NOW()) - 40), "EXPIRED", "expired"),
    "expired, of another server": (token(exp=int(NOW()) - 40, aud="other"), "INVALID", "claim aud"),
    "no exp": (token(without=("exp",)), "INVALID", "lacks a claim"),
    "exp is a text": (token(exp="tomorrow"), "INVALID", "claim exp"),
    "exp is true": (token(exp=True), "INVALID", "claim exp"),
    "exp is NaN": (token(exp=float("nan")), "INVALID", "claim exp"),
    "not yet valid": (token(nbf=int(NOW()) + DAY_S), "NOT_YET_VALID", "not valid yet"),
    "nbf is a text": (token(nbf="soon"), "INVALID", "claim nbf"),
    "issued in the future": (token(iat=int(NOW()) + DAY_S), "INVALID", "claim iat"),
    "no sub": (token(without=("sub",)), "INVALID", "lacks a claim"),
    "unknown sub": (token(sub="eve@shop.example"), "INVALID", "not in the policy"),
    "unknown key": (with_header(f"Bearer slk_0123456789ab_{'s3cr3t-' * 6}x"), "INVALID", "no such API key"),
    "secret of another key": (
        lambda entrance: bearer(entrance.app_key[:17] + add_key(entrance.keys, "app")[17:]),
        "INVALID",
        "no such API key",
    ),
    "half a key": (lambda entrance: bearer(entrance.app_key[:30]), "INVALID", "malformed"),
    "revoked key": (lambda entrance: bearer(add_key(entrance.keys, "app", revoked=1)), "INVALID", "revoked"),
    "expired key": (lambda entrance: bearer(add_key(entrance.keys, "app", expires=1)), "EXPIRED", "expired"),
    "key of nobody": (lambda entrance: bearer(add_key(entrance.keys, "ghost")), "INVALID", "not in the policy"),
    "over our bound": (with_header(f"Bearer {'s3cr3t' * 3000}"), "INVALID", "too long"),
    "two words": (with_header("Bearer s3cr3t s3cr3t"), "INVALID", "malformed"),
}


async def test_bad_credentials_are_refused_without_a_trace_of_them(
    entrance: Entrance, caplog: pytest.LogCaptureFixture
) -> None:
    """One server for all: each is refused with its cause, and decodes nothing."""
    made = {name: (make(entrance), *rest) for name, (make, *rest) in BAD.items()}
    with caplog.at_level(logging.DEBUG):
        async with guarded(entrance, server={"max_metadata_bytes": 64 * 1024}) as served:
            for name, (metadata, cause, reason) in made.items():
                caplog.clear()
                refusal = await failed(served.search(asked(max_objects=-1), metadata=metadata))
                assert (refusal.code, refusal.events) == (CODE.UNAUTHENTICATED, []), name
                assert refusal.reason == "UNAUTHENTICATED"
                assert dict(refusal.details["ErrorInfo"].metadata)["cause"] == cause, name
                [record] = [each for each in caplog.records if each.name == AUDIT]
                assert reason in str(getattr(record, "reason", "")), name
                assert (record.levelno, getattr(record, "method", "")) == (logging.WARNING, "Search")
                shown = "\n".join(str(vars(each)) for each in caplog.records) + str(refusal)
                for _, value in metadata:
                    for part in value.removeprefix("Bearer ").replace("_", ".").split("."):
                        assert len(part) < 6 or part not in shown.replace("sightline_server", ""), name
            assert served.value("stage_seconds_count", stage="decode") == 0
            assert served.engine.models["detector"].batches == []
            assert await answered(served, entrance.app_key), "and a good caller is served"


async def test_a_token_of_a_megabyte_is_refused_and_the_connection_goes_on(entrance: Entrance) -> None:
    async with guarded(entrance) as served:
        refusal = await failed(served.search(asked(), metadata=bearer("x" * 1_000_000)))
        assert refusal.code is CODE.RESOURCE_EXHAUSTED
        assert "xxx" not in refusal.message
        assert await answered(served, entrance.app_key)
    async with guarded(entrance, server={"max_metadata_bytes": 1024 * 1024}) as served:
        refusal = await failed(served.search(asked(), metadata=bearer("x" * 900_000)))
        assert (refusal.code, refusal.reason) == (CODE.UNAUTHENTICATED, "UNAUTHENTICATED")


@pytest.mark.parametrize("catalog", ["secret", "shop", "no-such-catalog", "*", "../default", "x" * 300])
async def test_a_denied_catalog_looks_like_an_absent_one(
    entrance: Entrance, catalog: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(entrance) as served:
        absent = await failed(served.search(asked(catalog="absent"), metadata=bearer(entrance.app_key)))
        # Faults that validation would find do not make a difference.
        found = await failed(served.search(asked(catalog=catalog, max_objects=-1), metadata=bearer(entrance.app_key)))
        assert (found.code, found.message, set(found.details)) == (absent.code, absent.message, set(absent.details))
        assert found.code is CODE.NOT_FOUND
        assert found.details["ResourceInfo"] == absent.details["ResourceInfo"]
        assert served.value("stage_seconds_count", stage="decode") == 0
    shown = [getattr(each, "catalog", None) for each in caplog.records if each.name == AUDIT]
    assert shown == [None, catalog if catalog in ("secret", "shop") else None]


async def test_a_lane_or_a_method_that_is_not_allowed_is_denied_for_every_catalog(entrance: Entrance) -> None:
    importer = add_key(entrance.keys, "importer")
    async with guarded(entrance) as served:
        for catalog in ("", "secret", "absent"):
            request = asked(catalog=catalog, lane=pb.LANE_BATCH, max_objects=-1)
            lane = await failed(served.search(request, metadata=bearer(entrance.app_key)))
            assert (lane.code, lane.message) == (CODE.PERMISSION_DENIED, "this caller may not use this lane")
            method = await failed(served.search(asked(catalog=catalog), metadata=bearer(importer)))
            assert (method.code, method.message) == (CODE.PERMISSION_DENIED, "this caller may not use this method")


async def test_a_call_is_refused_before_its_message_is_read(entrance: Entrance) -> None:
    async with guarded(entrance) as served:
        call: Any = served.channel.stream_stream("/sightline.v1.LensService/Search")(timeout=30)
        assert await call.code() is CODE.UNAUTHENTICATED
        assert served.value("request_bytes") == 0


async def test_probes_need_no_credential(entrance: Entrance) -> None:
    async with guarded(entrance) as served:
        answer = await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_load_reports_need_no_credential(entrance: Entrance) -> None:
    async with guarded(entrance, server={"load_reports": True}) as served:
        path = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
        method: Any = served.channel.unary_stream(path)
        assert isinstance(await method(b"\x0a\x02\x08\x01").read(), bytes)


async def test_anonymous_callers_have_the_rights_of_their_table(entrance: Entrance) -> None:
    public = '[principals.anonymous]\ncatalogs = ["shop"]\nmethods = ["Search"]\n'
    entrance.policy.write_text(entrance.policy.read_text() + public)
    async with guarded(entrance) as served:
        assert kinds(await events_of(served.search(asked(catalog="shop"))))[-1] == "done"
        assert (await failed(served.search(asked()))).code is CODE.NOT_FOUND
        wrong = await failed(served.search(asked(catalog="shop"), metadata=bearer("s3cr3t")))
        assert wrong.code is CODE.UNAUTHENTICATED, "a bad credential is not the same as none"


async def test_a_certificate_identifies_a_caller_by_its_alternative_names(entrance: Entrance) -> None:
    authority = Authority(entrance.policy.parent)
    async with guarded(entrance, authority) as served:
        for name, code in {"app.shop.example": CODE.OK, "eve.example": CODE.UNAUTHENTICATED}.items():
            async with channel_to(served.address, authority.credentials(client=True, name=name), ()) as channel:
                stub = lens_service_pb2_grpc.LensServiceStub(channel)
                assert await ending(stub.Search(asked(), timeout=20)) is code
                # A token decides alone, whatever the connection is.
                assert await ending(stub.Search(asked(), metadata=bearer("s3cr3t"))) is CODE.UNAUTHENTICATED


async def ending(call: Any) -> grpc.StatusCode:
    """The code with which a call ends."""
    with suppress(grpc.aio.AioRpcError):
        await events_of(call)
    return CODE(await call.code())


async def test_rotated_keys_are_valid_side_by_side_and_then_not(entrance: Entrance) -> None:
    async with guarded(entrance) as served:
        files = served.front.access_files
        assert files is not None
        old, new = entrance.issuer.key, ECKey.generate_key("P-256", {"kid": "two"})
        before, after = entrance.issuer.token(), entrance.issuer.token(key=new, header={"alg": "ES256"})
        assert await answered(served, before)
        assert (await failed(served.search(asked(), metadata=bearer(after)))).code is CODE.UNAUTHENTICATED
        entrance.issuer.publish(old, new)
        files.check()
        assert await answered(served, before) and await answered(served, after)
        entrance.issuer.publish(new)
        files.check()
        assert await answered(served, after)
        assert (await failed(served.search(asked(), metadata=bearer(before)))).code is CODE.UNAUTHENTICATED


async def test_a_key_that_is_revoked_in_mid_call_ends_the_next_call(entrance: Entrance) -> None:
    async with guarded(entrance) as served:
        files = served.front.access_files
        assert files is not None
        served.index.gate.clear()
        running = served.search(asked(), metadata=bearer(entrance.app_key))
        await served.index.started.wait()
        entrance.policy.write_text(entrance.policy.read_text().replace('"search"', '"read"'))
        files.check()
        served.index.gate.set()
        assert kinds(await events_of(running))[-1] == "done"
        assert (await failed(served.search(asked(), metadata=bearer(entrance.app_key)))).code is CODE.PERMISSION_DENIED


BREAKS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "policy, not TOML": ("policy", lambda path: path.write_text("[principals")),
    "policy, unknown method": ("policy", lambda path: path.write_text(path.read_text().replace('"search"', '"find"'))),
    "policy, gone": ("policy", lambda path: path.unlink()),
    "keys, empty": ("keys", lambda path: path.write_text("")),
    "keys, readable by all": ("keys", lambda path: path.chmod(0o644)),
    "jwks, cut": ("jwks", lambda path: path.write_text(path.read_text()[:40])),
    "jwks, no key": ("jwks", lambda path: path.write_text('{"keys": []}')),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_broken_file_keeps_what_was_there_and_is_reported_once(
    entrance: Entrance, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    which, damage = BREAKS[name]
    path = {"policy": entrance.policy, "keys": entrance.keys, "jwks": entrance.issuer.path}[which]
    async with guarded(entrance) as served:
        files = served.front.access_files
        assert files is not None
        assert served.value("access_files_usable", file=which) == 1
        good, mode = path.read_bytes(), path.stat().st_mode
        damage(path)
        for _ in range(3):
            files.check()
        assert served.value("access_files_usable", file=which) == 0
        [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert str(path) in record.getMessage()
        assert await answered(served, entrance.app_key) and await answered(served, entrance.issuer.token())
        path.write_bytes(good)
        path.chmod(mode)
        files.check()
        await until(lambda: served.value("access_files_usable", file=which) == 1)


class NoCatalogs:
    """Satisfies `Shelf` and `ReloadObserver` of a reload that opens none."""

    folders: ClassVar[dict[str, Path]] = {}

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of a catalog that is not there")


async def test_a_hangup_reads_the_files_at_once(entrance: Entrance, caplog: pytest.LogCaptureFixture) -> None:
    async with guarded(entrance) as served:
        key = add_key(entrance.keys, "app")
        assert (await failed(served.search(asked(), metadata=bearer(key)))).code is CODE.UNAUTHENTICATED
        nothing: Any = NoCatalogs()
        reloading = Reloading(None, CatalogReloader(nothing, nothing), served.front.access_files)
        with caplog.at_level(logging.INFO):
            reloading.on_hangup()
            assert reloading._task is not None
            await reloading._task
        assert await answered(served, key)
    said = [each.getMessage() for each in caplog.records if each.name == "sightline_server.access.file_in_use"]
    assert [line.split(":")[1].strip() for line in said] == [
        "the policy file holds what is in use",
        "calls from now on use the keys file as it is now",
        "the jwks file holds what is in use",
    ]
