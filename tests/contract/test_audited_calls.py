"""The audit log under real calls: what is recorded of both services, that calls wait for it, and a full disk."""

import asyncio
import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sightline.v1 import catalog_service_pb2 as catalog_pb
from sightline_server.access.audit_log import chain_writer
from sightline_server.access.audit_log.file_audit import AuditLogOptions, FileAudit
from sightline_server.access.audit_log.files import files_of
from sightline_server.access.audit_log.flood import Flood
from sightline_server.access.audit_log.folder import FIRST_KEY, read_first_key
from sightline_server.access.audit_log.reading import placed_records, receipt_of
from sightline_server.access.audit_log.verifying import verify_log
from sightline_server.app.access import open_access
from tests.support.asking import PHOTO, asked, events_of, kinds
from tests.support.catalog_service import SHOP, catalog_serving, make_shop, product, ready, upserted
from tests.support.catalog_service import upsert as upsert_request
from tests.support.lens import FakeSnapshot, Served, details_of, failed, serving, until
from tests.support.tokens import Entrance, bearer

CODE = grpc.StatusCode
Fields = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def audited(folder: Path, **options: Any) -> Any:
    """A server of search with an audit log."""
    return serving(audit={"folder": folder, **options.pop("audit", {})}, **options)


def decisions(folder: Path, kind: str = "access_decision") -> list[Fields]:
    """The records of calls, without what differs each time."""
    varying = ("record_id", "event_time", "request_id", "mac")
    found = [dict(placed.fields) for placed in placed_records(folder) if placed.fields["event_type"] == kind]
    assert all(str(each["event_time"]).endswith("Z") for each in found)
    return [{name: value for name, value in each.items() if name not in varying} for each in found]


def intact(folder: Path) -> bool:
    return not any(report.faults for report in verify_log(folder, read_first_key(folder / FIRST_KEY)))


def content(folder: Path) -> bytes:
    """The bytes of all files."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


SEARCH = {
    "event_type": "access_decision",
    "service": "sightline.v1.LensService",
    "method": "Search",
    "catalog": "default",
    "lane": "interactive",
    "event_state": "allowed",
}


async def test_a_search_leaves_one_record_with_nothing_of_its_photo(folder: Path) -> None:
    async with audited(folder) as served:
        events = await events_of(served.search(asked(max_objects=3, catalog="default")))
        [record] = decisions(folder)
        assert record == {**SEARCH, "entity_id": "anonymous", "reason": "the server has no policy"}
        assert served.value("audit_records_total") == 1
        assert served.value("audit_commit_seconds_count") == 1
        receipt = receipt_of(folder, events[0].accepted.request_id)
        assert receipt is not None and receipt["receipt_id"] == "0-1"
    assert intact(folder)
    assert PHOTO[:64] not in content(folder)


async def test_allowed_and_denied_calls_are_recorded_in_their_order(tmp_path: Path, folder: Path) -> None:
    entrance = Entrance(tmp_path)
    async with audited(folder, index=FakeSnapshot("shop"), rights=without_tls(entrance),
                       others=[FakeSnapshot("default"), FakeSnapshot("secret")],
                       catalogs={n: {"path": f"/{n}"} for n in ("default", "shop", "secret")}) as served:  # fmt: skip
        assert kinds(await events_of(served.search(asked(), metadata=bearer(entrance.app_key))))[-1] == "done"
        for metadata, fields in (
            (bearer(entrance.app_key), {"catalog": "secret"}),
            (bearer(entrance.app_key), {"catalog": "no such catalog"}),
            (bearer("s3cr3t"), {}),
        ):
            await failed(served.search(asked(**fields), metadata=metadata))
        # A request that is not valid was allowed, and the record is there before its caller gets the error.
        await failed(served.search(asked(max_objects=-1), metadata=bearer(entrance.app_key)))
    found = decisions(folder)
    assert [(each.get("entity_id"), each.get("catalog"), each["event_state"]) for each in found] == [
        ("app", "default", "allowed"),
        ("app", "secret", "denied"),
        ("app", None, "denied"),
        (None, None, "denied"),
        ("app", "default", "allowed"),
    ]
    assert "s3cr3t" not in str(found) and "no such" not in str(found)
    assert intact(folder)


def without_tls(entrance: Entrance) -> dict[str, Any]:
    """The settings of `entrance` with a policy for keys alone."""
    entrance.policy.write_text('[principals.app]\ncatalogs = ["default"]\nmethods = ["*"]\n')
    return {"policy_file": entrance.policy, "keys_file": entrance.keys}


class Disk:
    """`os.fdatasync` and `os.write` of the audit log: held, failing, or as they are."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Event()
        self.error: OSError | None = None
        self.groups = 0

    def sync(self, descriptor: int) -> None:
        self.groups += 1
        self.reached.set()
        assert self.open.wait(60)
        os.fsync(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        if self.error is not None:
            raise self.error
        return os.write(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The disk of every audit log."""
    disk = Disk()

    class Os:
        fdatasync, write = staticmethod(disk.sync), staticmethod(disk.write)

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    monkeypatch.setattr(chain_writer, "os", Os())
    yield disk
    disk.open.set()


@contextmanager
def full(disk: Disk, code: int = errno.ENOSPC) -> Iterator[None]:
    """A disk without room."""
    disk.error = OSError(code, os.strerror(code))
    yield
    disk.error = None


def durable(served: Served) -> FileAudit:
    """The audit log of the server."""
    audit = served.door.access._durable
    assert isinstance(audit, FileAudit)
    return audit


def decoded(served: Served) -> int:
    """The number of images that a model saw."""
    return sum(served.engine.models["detector"].batches)


async def test_a_call_goes_on_when_its_record_is_on_the_disk_and_others_are_not_kept_waiting(
    folder: Path, disk: Disk
) -> None:
    async with audited(folder) as served:
        disk.open.clear()
        first = asyncio.create_task(events_of(served.search(asked())))
        await until(disk.reached.is_set)
        rest = [asyncio.create_task(events_of(served.search(asked()))) for _ in range(5)]
        await until(lambda: len(durable(served)._commit._waiting) == 5)
        # The event loop is free meanwhile.
        health = health_pb2_grpc.HealthStub(served.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        assert decoded(served) == 0 and not first.done()
        disk.open.set()
        for task in (first, *rest):
            assert kinds(await task)[-1] == "done"
        assert disk.groups < 5
    assert len(decisions(folder)) == 6 and intact(folder)


async def test_a_caller_that_leaves_while_its_record_is_written_leaves_the_record(folder: Path, disk: Disk) -> None:
    async with audited(folder) as served:
        disk.open.clear()
        call = served.search(asked())
        await until(disk.reached.is_set)
        call.cancel()
        await until(lambda: served.value("requests_total", method="Search", code="CANCELLED") == 1)
        disk.open.set()
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
    assert len(decisions(folder)) == 2 and intact(folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
async def test_a_full_disk_refuses_calls_until_there_is_room(folder: Path, disk: Disk, code: int) -> None:
    async with audited(folder) as served:
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
        seen = decoded(served)
        with full(disk, code):
            for _ in range(2):
                refusal = await failed(served.search(asked()))
                assert (refusal.code, refusal.events) == (CODE.UNAVAILABLE, [])
                assert refusal.reason == "AUDIT_UNAVAILABLE"
                assert "RetryInfo" in refusal.details and str(folder) not in refusal.message
            assert decoded(served) == seen
            assert served.value("audit_usable") == 0 and served.value("audit_failures_total") == 2
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
        assert served.value("audit_usable") == 1
    causes = [each.get("refused") for each in decisions(folder, "file_started") if each["cause"] == "failure"]
    assert causes == [2]
    assert len(decisions(folder)) == 2 and intact(folder)


async def test_a_denied_call_on_a_full_disk_is_refused_too(tmp_path: Path, folder: Path, disk: Disk) -> None:
    async with audited(folder, rights=without_tls(Entrance(tmp_path))) as served:
        with full(disk):
            refusal = await failed(served.search(asked(), metadata=bearer("s3cr3t")))
        assert refusal.reason == "AUDIT_UNAVAILABLE"


async def test_an_optional_log_lets_calls_go_on_and_says_so(
    folder: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    async with audited(folder, audit={"on_failure": "allow"}) as served:
        assert "calls go on without a record" in caplog.text
        with full(disk):
            assert kinds(await events_of(served.search(asked())))[-1] == "done"
        assert "cannot be written: No space left" in caplog.text
        assert served.value("audit_failures_total") == 1


async def test_a_flood_of_bad_credentials_is_summarised(tmp_path: Path, folder: Path) -> None:
    async with audited(folder, rights=without_tls(Entrance(tmp_path))) as served:
        durable(served)._flood = Flood(lambda: 0.0, rate=5)
        calls = [failed(served.search(asked(), metadata=bearer("s3cr3t"))) for _ in range(120)]
        assert {each.code for each in await asyncio.gather(*calls)} == {CODE.UNAUTHENTICATED}
    single, summed = decisions(folder), decisions(folder, "access_decisions_summarised")
    assert len(single) == 5
    assert [each["count"] for each in summed] == [115]
    assert all("request_id" not in each and each["event_state"] == "denied" for each in summed)


@asynccontextmanager
async def audited_catalog(tmp_path: Path, folder: Path) -> AsyncIterator[Any]:
    audit = FileAudit(AuditLogOptions(folder))
    async with catalog_serving(make_shop(tmp_path), access=partial(open_access, audit=audit)) as served:
        yield served
    await asyncio.to_thread(audit.close)


async def test_calls_of_the_catalog_service_are_recorded_and_write_nothing_on_a_full_disk(
    tmp_path: Path, folder: Path, disk: Disk
) -> None:
    async with audited_catalog(tmp_path, folder) as served:
        request = upsert_request(product("new", ready(served.embedder)))
        assert len(await upserted(served, request)) == 1
        pending = served.writer.pending
        get = catalog_pb.GetCatalogRequest(name=SHOP)
        calls: list[Callable[[], Any]] = [
            lambda: upserted(served, upsert_request(product("more", ready(served.embedder)))),
            lambda: served.stub.GetCatalog(get),
        ]
        with full(disk):
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call()
                assert caught.value.code() is CODE.UNAVAILABLE
                assert details_of(caught.value)["ErrorInfo"].reason == "AUDIT_UNAVAILABLE"
        assert served.writer.pending == pending
        assert (await served.stub.GetCatalog(get)).catalog.product_count == 6
    assert [(each["method"], each["lane"]) for each in decisions(folder)] == [
        ("UpsertProducts", "batch"),
        ("GetCatalog", "batch"),
    ]
    assert intact(folder)


async def test_two_servers_on_one_folder_write_a_chain_each(folder: Path) -> None:
    async with audited(folder) as first, audited(folder) as second:
        for served in (first, second, second):
            await events_of(served.search(asked()))
    assert [len(files_of(folder / f"chain-{number}")) for number in (0, 1)] == [1, 1]
    assert len(decisions(folder)) == 3 and intact(folder)
    assert json.loads((folder / "root.json").read_text())["chains"] == 2
