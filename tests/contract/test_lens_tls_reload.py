"""TLS files that change under a running server: new connections get what is good, and nothing else ends anything."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from sightline.v1 import lens_service_pb2_grpc
from sightline_server.rpc.listener import tls, tls_files
from tests.support.asking import asked, events_of, kinds
from tests.support.authority import Authority
from tests.support.lens import Served, serving


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def settings(authority: Authority, *, mutual: bool = False) -> dict[str, Path]:
    found = {"tls_cert": authority.cert, "tls_key": authority.key}
    return {**found, "tls_client_ca": authority.root} if mutual else found


async def shown(served: Served) -> bytes:
    """The certificate that a new connection is shown."""
    port = int(served.address.rpartition(":")[2])
    found = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return found.encode().strip()


async def answers(served: Served) -> bool:
    return kinds(await events_of(served.search(asked(), timeout=20)))[-1] == "done"


async def test_a_new_pair_is_shown_to_new_connections_and_old_ones_stay(authority: Authority) -> None:
    before = authority.cert.read_bytes().strip()
    async with serving(server=settings(authority), credentials=authority.credentials()) as served:
        assert await answers(served)
        assert await shown(served) == before
        for _ in range(3):
            issued = authority.issue().strip()
            assert await shown(served) == issued
            assert await answers(served), "over the connection from before"
        assert served.value("tls_files_usable") == 1


async def test_files_written_in_place_are_noticed(authority: Authority) -> None:
    async with serving(server=settings(authority)) as served:
        await shown(served)
        cert, key = authority.pair()
        authority.cert.write_bytes(cert)
        authority.key.write_bytes(key)
        assert await shown(served) == cert.strip()


async def test_a_swapped_link_of_a_mounted_secret_is_noticed(tmp_path: Path, authority: Authority) -> None:
    """As Kubernetes does it: tls.crt -> ..data/tls.crt, ..data -> ..2026_1, and only ..data changes."""
    mount = tmp_path / "mount"
    mount.mkdir()

    def publish(name: str) -> bytes:
        cert, key = authority.pair()
        (mount / name).mkdir()
        (mount / name / "tls.crt").write_bytes(cert)
        (mount / name / "tls.key").write_bytes(key)
        (mount / "..data_tmp").symlink_to(name)
        os.replace(mount / "..data_tmp", mount / "..data")
        return cert.strip()

    first = publish("..2026_1")
    for name in ("tls.crt", "tls.key"):
        (mount / name).symlink_to(Path("..data") / name)
    async with serving(server={"tls_cert": mount / "tls.crt", "tls_key": mount / "tls.key"}) as served:
        assert await shown(served) == first
        second = publish("..2026_2")
        assert await shown(served) == second
        # All files of the old revision may be older than those in use: an older date is a change too.
        (mount / "..data").unlink()
        (mount / "..data").symlink_to("..2026_1")
        assert await shown(served) == first


def half_a_certificate(authority: Authority) -> None:
    whole = authority.cert.read_bytes()
    authority.cert.write_bytes(whole[: len(whole) // 2])


def nothing(authority: Authority) -> None:
    authority.cert.write_bytes(b"")


def missing(authority: Authority) -> None:
    authority.key.unlink()


def key_of_another(authority: Authority) -> None:
    authority.key.write_bytes(authority.pair()[1])


def certificate_of_another(authority: Authority) -> None:
    authority.cert.write_bytes(authority.pair()[0])


def folder_in_its_place(authority: Authority) -> None:
    authority.cert.unlink()
    authority.cert.mkdir()


def half_a_chain(authority: Authority) -> None:
    chain = authority.cert.read_bytes() + authority.root_pem()
    authority.cert.write_bytes(chain[:-60])


BREAKS = [
    half_a_certificate,
    nothing,
    missing,
    key_of_another,
    certificate_of_another,
    folder_in_its_place,
    half_a_chain,
]


@pytest.mark.parametrize("damage", BREAKS, ids=lambda damage: damage.__name__)
async def test_a_broken_pair_keeps_the_old_one_and_is_reported_once(
    authority: Authority, damage: Callable[[Authority], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = authority.cert.read_bytes().strip()
    async with serving(server=settings(authority), credentials=authority.credentials()) as served:
        await shown(served)
        damage(authority)
        for _ in range(5):
            assert await shown(served) == before
        assert await answers(served)
        [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert str(authority.cert) in record.getMessage() or str(authority.key) in record.getMessage()
        assert "PRIVATE" not in record.getMessage()
        assert served.value("tls_files_usable") == 0
        if authority.cert.is_dir():
            authority.cert.rmdir()
        issued = authority.issue().strip()
        assert await shown(served) == issued
        assert served.value("tls_files_usable") == 1


async def test_unchanged_files_are_read_by_no_handshake(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(server=settings(authority)) as served:
        reads: list[None] = []

        def load(files: tls_files.TlsFiles) -> tls_files.Contents:
            reads.append(None)
            return tls_files.load(files)

        monkeypatch.setattr(tls, "load", load)
        for _ in range(20):
            await shown(served)
        assert len(reads) <= 1, "once more, because the files were new at the start"
        authority.issue()
        for _ in range(20):
            await shown(served)
        assert len(reads) <= 4


async def test_the_authority_of_clients_is_followed_too(authority: Authority) -> None:
    async with serving(
        server=settings(authority, mutual=True), credentials=authority.credentials(client=True)
    ) as served:
        assert await answers(served)
        assert not await admitted(served, authority.credentials(stranger=True))
        authority.root.write_bytes(authority.root_pem() + authority.root_pem(stranger=True))
        assert await admitted(served, authority.credentials(stranger=True))
        assert await admitted(served, authority.credentials(client=True))
        authority.root.write_bytes(authority.root_pem(stranger=True))
        assert not await admitted(served, authority.credentials(client=True))
        authority.root.write_bytes(b"nothing")
        assert await admitted(served, authority.credentials(stranger=True)), "the last good one"
        assert not await admitted(served, authority.credentials()), "it never becomes optional"
        assert await answers(served), "the connection from before"


async def admitted(served: Served, credentials: grpc.ChannelCredentials) -> bool:
    """Returns whether a new connection with `credentials` gets an answer."""
    port = served.address.rpartition(":")[2]
    # A subchannel of an earlier channel must not be shared: each has its own.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options=options) as channel:
        call = lens_service_pb2_grpc.LensServiceStub(channel).Search(asked(), timeout=10)
        with suppress(grpc.aio.AioRpcError):
            await events_of(call)
        return await call.code() is grpc.StatusCode.OK
