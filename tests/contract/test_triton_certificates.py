"""Certificates of a Triton elsewhere, judged by real gRPC: what is believed, and how the rest is explained."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme

from sightline_server.domain.address import parse_target
from sightline_server.triton.client import TritonClient
from sightline_server.triton.faults import EngineError
from sightline_server.triton.handshake import explain, is_final
from sightline_server.triton.link import Link, TritonTls

DAY = timedelta(days=1)
REACHED = "Method not found!"
"""The answer of gRPC's own server, which is not a Triton, over an open connection."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def root(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return path


@asynccontextmanager
async def listening(leaf: trustme.LeafCert, target: str = "127.0.0.1:0") -> AsyncIterator[int]:
    """A gRPC server without services that shows `leaf`; gives its port."""
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    server = grpc.aio.server()
    port = server.add_secure_port(target, grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)]))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def said(url: str, tls: TritonTls) -> tuple[bool, str]:
    """Returns whether the first answer of `url` ends a start, and its explanation."""
    client = TritonClient(url, tls)
    try:
        with pytest.raises(EngineError) as caught:
            await client.server_ready(20)
    finally:
        await client.close()
    return is_final(caught.value.detail), explain(caught.value.detail, Link(parse_target(url), tls))


BELIEVED: dict[str, Callable[[trustme.CA], trustme.LeafCert]] = {
    "for-the-address": lambda ca: ca.issue_cert("127.0.0.1"),
    "of-an-intermediate": lambda ca: ca.create_child_ca().issue_cert("127.0.0.1"),
    "one-name-of-many": lambda ca: ca.issue_cert("triton.example", "127.0.0.1"),
}


@pytest.mark.parametrize("kind", BELIEVED)
async def test_certificate_of_the_authority_is_trusted(kind: str, authority: trustme.CA, root: Path) -> None:
    async with listening(BELIEVED[kind](authority)) as port:
        assert await said(f"127.0.0.1:{port}", TritonTls(root)) == (False, REACHED)


@pytest.mark.parametrize("kind", BELIEVED)
async def test_certificate_of_another_authority_is_not_trusted(kind: str, root: Path) -> None:
    async with listening(BELIEVED[kind](trustme.CA())) as port:
        final, why = await said(f"127.0.0.1:{port}", TritonTls(root))
    assert final
    assert why.startswith("its certificate cannot be verified (")
    assert why.endswith(f"with engine.triton_tls_ca {root}")


@pytest.mark.parametrize(
    ("begins", "ends", "reason"), [(-9, -1, "certificate has expired"), (1, 9, "certificate is not yet valid")]
)
async def test_certificate_out_of_its_time_is_not_believed(
    begins: int, ends: int, reason: str, authority: trustme.CA, root: Path
) -> None:
    now = datetime.now(UTC)
    leaf = authority.issue_cert("127.0.0.1", not_before=now + begins * DAY, not_after=now + ends * DAY)
    async with listening(leaf) as port:
        final, why = await said(f"127.0.0.1:{port}", TritonTls(root))
    assert (final, f"({reason})" in why) == (True, True)


@pytest.mark.parametrize("url", ["127.0.0.1:{port}", "localhost:{port}", "triton.localhost:{port}"])
async def test_certificate_must_be_for_the_host_or_for_the_name_that_is_set(
    url: str, authority: trustme.CA, root: Path
) -> None:
    async with listening(authority.issue_cert("triton.example")) as port:
        place = url.format(port=port)
        final, why = await said(place, TritonTls(root))
        assert (final, why.startswith(f"its certificate is not for {place}: set engine.triton_tls_name")) == (
            True,
            True,
        )
        assert await said(place, TritonTls(root, server_name="triton.example")) == (False, REACHED)


async def test_name_below_localhost_is_the_one_that_the_certificate_must_have(
    authority: trustme.CA, root: Path
) -> None:
    async with listening(authority.issue_cert("triton.localhost")) as port:
        assert await said(f"triton.localhost:{port}", TritonTls(root)) == (False, REACHED)


async def test_socket_has_no_host_so_the_name_is_set(authority: trustme.CA, root: Path, tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/s"
    async with listening(authority.issue_cert("triton.example"), url):
        assert "set engine.triton_tls_name" in (await said(url, TritonTls(root)))[1]
        assert await said(url, TritonTls(root, server_name="triton.example")) == (False, REACHED)
