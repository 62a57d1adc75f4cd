"""TLS and mutual TLS to a real Triton elsewhere: what works, and what is said where the two sides do not agree.

The certificates are for `localhost`; connections go to 127.0.0.1, which only `server_name` makes fit.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sightline_server.cli.catalog import app as catalog_command
from sightline_server.domain.models import EMBEDDER
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.engine import TritonEngine
from sightline_server.triton.link import TritonTls
from tests.support.authority import Authority
from tests.support.catalogs import write_feed, write_picture
from tests.support.engine import remote_engine
from tests.support.remote_triton import RemoteTriton, remote_triton
from tests.support.tiny_models import EMBEDDER_SIZE, expected_embeddings

pytestmark = pytest.mark.engine
START_S = 60.0
NO_ANSWER_S = 3.0
"""Start timeout of a server that Triton never answers."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> TritonTls:
    """TLS files that both Tritons of this file accept."""
    cert, key = authority.client_files(authority.root.parent)
    return TritonTls(authority.root, cert, key, server_name="localhost")


@pytest.fixture(scope="module")
def stranger(authority: Authority) -> Path:
    """The certificate of an authority that signed nothing here."""
    path = authority.root.with_name("stranger.pem")
    path.write_bytes(authority.root_pem(stranger=True))
    return path


@pytest.fixture(scope="module")
def tls_triton(tiny_repository: Path, authority: Authority) -> Iterator[RemoteTriton]:
    options = f"--grpc-server-cert={authority.cert}", f"--grpc-server-key={authority.key}"
    with remote_triton(tiny_repository, "--grpc-use-ssl=true", *options) as triton:
        yield triton


@pytest.fixture(scope="module")
def mutual_triton(tiny_repository: Path, authority: Authority) -> Iterator[RemoteTriton]:
    files = f"--grpc-server-cert={authority.cert}", f"--grpc-server-key={authority.key}"
    options = "--grpc-use-ssl-mutual=true", f"--grpc-root-cert={authority.root}"
    with remote_triton(tiny_repository, *options, *files) as triton:
        yield triton


@asynccontextmanager
async def engine_at(url: str, tls: TritonTls | None, timeout_s: float = START_S) -> AsyncIterator[TritonEngine]:
    engine = remote_engine(url, tls, start_timeout_s=timeout_s, restart_backoff_s=(0.1,))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def refusal(url: str, tls: TritonTls | None, timeout_s: float = START_S) -> str:
    """The error with which a start ends."""
    began = time.monotonic()
    with pytest.raises(SightlineError) as caught:
        async with engine_at(url, tls, timeout_s):
            raise AssertionError
    assert time.monotonic() - began < START_S / 2, "said at once, not after the whole start timeout"
    assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
    return caught.value.message


async def assert_answers(engine: TritonEngine) -> None:
    crops = np.random.default_rng(3).integers(0, 256, (3, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)
    answer = await engine.runner(EMBEDDER).infer({"CROPS": list(crops)}, deadline=time.monotonic() + 20)
    np.testing.assert_allclose(answer["EMBEDDINGS"], expected_embeddings(crops), atol=1e-6)


async def test_tls_with_the_right_authority_works(tls_triton: RemoteTriton, good: TritonTls) -> None:
    async with engine_at(tls_triton.url, TritonTls(good.ca, server_name="localhost")) as engine:
        await assert_answers(engine)


async def test_mutual_tls_with_a_client_certificate_works(mutual_triton: RemoteTriton, good: TritonTls) -> None:
    async with engine_at(mutual_triton.url, good) as engine:
        await assert_answers(engine)


async def test_wrong_authority_is_named(tls_triton: RemoteTriton, good: TritonTls, stranger: Path) -> None:
    message = await refusal(tls_triton.url, replace(good, ca=stranger))
    assert message.startswith(f"the Triton at {tls_triton.url} cannot be used: its certificate cannot be verified")
    assert message.endswith(f"with engine.triton_tls_ca {stranger}")


async def test_roots_of_the_system_do_not_know_a_private_authority(tls_triton: RemoteTriton) -> None:
    assert "the system's root certificates: set engine.triton_tls_ca" in await refusal(tls_triton.url, TritonTls())


async def test_certificate_for_another_name_is_refused(tls_triton: RemoteTriton, good: TritonTls) -> None:
    message = await refusal(tls_triton.url, TritonTls(good.ca))
    assert f"its certificate is not for {tls_triton.url}: set engine.triton_tls_name" in message


async def test_plaintext_to_a_triton_with_tls_is_explained(tls_triton: RemoteTriton) -> None:
    message = await refusal(tls_triton.url, None, NO_ANSWER_S)
    assert "did not answer within 3 s: it ends every connection: if it uses TLS" in message


async def test_tls_to_a_triton_without_it_is_explained(tiny_repository: Path, good: TritonTls) -> None:
    with remote_triton(tiny_repository) as triton:
        assert "it does not use TLS: start Triton with --grpc-use-ssl=true" in await refusal(triton.url, good)


async def test_mutual_tls_without_a_client_certificate_is_explained(
    mutual_triton: RemoteTriton, good: TritonTls
) -> None:
    message = await refusal(mutual_triton.url, replace(good, cert=None, key=None), NO_ANSWER_S)
    assert "set engine.triton_tls_cert and engine.triton_tls_key" in message


async def test_mutual_tls_with_a_strangers_certificate_is_explained(
    mutual_triton: RemoteTriton, good: TritonTls, authority: Authority
) -> None:
    cert, key = authority.client_files(authority.root.parent, stranger=True)
    message = await refusal(mutual_triton.url, replace(good, cert=cert, key=key), NO_ANSWER_S)
    assert f"it may not trust the client certificate engine.triton_tls_cert {cert}" in message


async def test_renewed_files_are_used_by_the_next_connection(
    tiny_repository: Path, tmp_path: Path, authority: Authority
) -> None:
    # The authority of both sides changes while Triton restarts, as when an operator replaces everything.
    before, after = authority, Authority(tmp_path)
    ca = tmp_path / "current-ca.pem"
    ca.write_bytes(before.root_pem())
    triton = RemoteTriton(tiny_repository, options=tls_options(before))
    triton.start()
    try:
        async with engine_at(triton.url, TritonTls(ca, server_name="localhost")) as engine:
            await assert_answers(engine)
            changes: asyncio.Queue[bool] = asyncio.Queue()
            engine.on_change(changes.put_nowait)
            triton.end()
            async with asyncio.timeout(START_S):
                assert await changes.get() is False
                triton.options = tls_options(after)
                triton.start()
                fresh = ca.with_suffix(".new")
                fresh.write_bytes(after.root_pem())
                os.replace(fresh, ca)
                assert await changes.get() is True
            await assert_answers(engine)
    finally:
        triton.end()


def tls_options(authority: Authority) -> tuple[str, ...]:
    return "--grpc-use-ssl=true", f"--grpc-server-cert={authority.cert}", f"--grpc-server-key={authority.key}"


def test_a_build_uses_the_tls_files_of_its_options(
    mutual_triton: RemoteTriton, good: TritonTls, tmp_path: Path
) -> None:
    write_picture(tmp_path / "cup.png", 90)
    feed = write_feed(tmp_path / "feed.csv", [{"id": "cup", "image_link": "cup.png"}])
    files = ["--triton-tls-ca", good.ca, "--triton-tls-cert", good.cert, "--triton-tls-key", good.key]
    build = ["build", feed, "--out", tmp_path / "shop", "--triton-url", mutual_triton.url, *files]
    arguments = [*build, "--triton-tls-name", good.server_name]
    result = CliRunner().invoke(catalog_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "1 product, 1 image" in result.stdout
