"""Tokens of the clients against servers with a policy: texts, functions, coroutines, and what goes wrong with them."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sightline_client import (
    AsyncCatalogClient,
    AsyncClient,
    CatalogClient,
    CatalogProduct,
    Client,
    ClientOptions,
    ConfigurationError,
    DeadlineExceededError,
    Embedding,
    NotFoundError,
    PermissionDeniedError,
    ProductImage,
    SightlineError,
    TlsOptions,
    UnauthenticatedError,
)
from sightline_server.app.access import open_access_files
from sightline_server.settings import Settings
from tests.support.asking import PHOTO
from tests.support.authority import Authority
from tests.support.catalog_service import DIMENSION, ServedCatalog, catalog_serving, make_shop
from tests.support.lens import Served, serving
from tests.support.tokens import add_key

POLICY = """
[principals.app]
catalogs = ["default"]
methods = ["search"]

[principals.importer]
catalogs = ["shop"]
methods = ["read", "write"]
"""


@pytest.fixture
def rights(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "policy.toml").write_text(POLICY)
    return {"policy_file": tmp_path / "policy.toml", "keys_file": tmp_path / "keys.json"}


@pytest.fixture
def key(rights: dict[str, Path]) -> str:
    return add_key(rights["keys_file"], "app")


@asynccontextmanager
async def searched(rights: dict[str, Path]) -> AsyncIterator[Served]:
    async with serving(rights=rights, catalogs={name: {"path": "/x"} for name in ("default", "shop")}) as served:
        yield served


async def test_a_token_may_be_a_text_a_function_or_a_coroutine(rights: dict[str, Path], key: str) -> None:
    threads: list[str] = []

    def function() -> str:
        threads.append(threading.current_thread().name)
        return key

    async def coroutine() -> str:
        await asyncio.sleep(0)
        return key

    async with searched(rights) as served:
        for token in (key, function, coroutine, lambda: coroutine()):
            async with AsyncClient(ClientOptions(served.address, token=token)) as client:
                assert (await client.find(PHOTO)).done is not None
        assert threads and threads != [threading.main_thread().name], "it may block, so it is not run in the loop"

        def blocking() -> None:
            with Client(ClientOptions(served.address, token=function)) as client:
                client.find(PHOTO)

        await asyncio.to_thread(blocking)
        assert len(threads) == 2, "once for each call"


async def test_a_function_is_asked_again_for_each_call(rights: dict[str, Path], key: str) -> None:
    tokens = iter(["slk_wrong", key])
    async with searched(rights) as served:
        async with AsyncClient(ClientOptions(served.address, token=lambda: next(tokens))) as client:
            with pytest.raises(UnauthenticatedError) as caught:
                await client.find(PHOTO)
            assert (caught.value.reason, caught.value.metadata["cause"]) == ("UNAUTHENTICATED", "INVALID")
            await client.find(PHOTO)
        async with AsyncClient(ClientOptions(served.address)) as client:
            with pytest.raises(UnauthenticatedError) as caught:
                await client.find(PHOTO)
            assert caught.value.metadata["cause"] == "MISSING"


def failing() -> str:
    raise OSError("s3cr3t")


async def failing_later() -> str:
    raise TimeoutError


async def hanging() -> str:
    await asyncio.Event().wait()
    return ""


@pytest.mark.parametrize(
    ("token", "error", "said"),
    [
        (failing, UnauthenticatedError, "ClientOptions.token raised OSError"),
        (failing_later, UnauthenticatedError, "ClientOptions.token raised TimeoutError"),
        (hanging, DeadlineExceededError, "no token before the deadline"),
        (lambda: None, UnauthenticatedError, "returned no token"),
        (lambda: b"s3cr3t", UnauthenticatedError, "returned no token"),
        (lambda: "s3cr3t\n", UnauthenticatedError, "returned no token"),
        (lambda: "", UnauthenticatedError, "returned no token"),
    ],
    ids=["raises", "times out", "hangs", "None", "bytes", "line break", "empty"],
)
async def test_a_function_that_fails_is_an_error_of_the_client(
    token: Any, error: type[SightlineError], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = ClientOptions("127.0.0.1:9", token=token, timeout_s=0.3)
    with caplog.at_level(logging.DEBUG):
        async with AsyncClient(options) as client, AsyncCatalogClient(options) as catalogs:
            for call in (client.find(PHOTO), catalogs.catalog("shop"), upserted(catalogs, [])):
                with pytest.raises(error, match=said) as caught:
                    await call
                assert "s3cr3t" not in caught.value.one_line()
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ünicode", 7, b"bytes"])
def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(token: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^token must be") as caught:
        ClientOptions(token=token)
    assert not isinstance(token, str) or not token or token not in caught.value.message


def test_the_options_do_not_show_their_token() -> None:
    assert "s3cr3t" not in repr(ClientOptions(token="s3cr3t"))


def product(served: ServedCatalog) -> CatalogProduct:
    values = [1.0] + [0.0] * (DIMENSION - 1)
    return CatalogProduct("new", [ProductImage(Embedding(served.embedder, values), "x")])


async def upserted(client: AsyncCatalogClient, products: list[CatalogProduct]) -> list[bool]:
    return [each.ok async for each in client.upsert("shop", products or [CatalogProduct("p", [b"\xff\xd8"])])]


async def test_the_catalog_clients_send_the_token_with_every_kind_of_call(
    tmp_path: Path, rights: dict[str, Path], key: str
) -> None:
    importer = add_key(rights["keys_file"], "importer")
    shop = make_shop(tmp_path)
    catalogs: Any = {name: {"path": shop} for name in ("shop", "default")}
    files = open_access_files(Settings(access=rights, catalogs=catalogs))  # type: ignore[arg-type]
    assert files is not None
    async with catalog_serving(shop, access=files.access) as served:
        async with AsyncCatalogClient(ClientOptions(served.address, token=lambda: importer)) as client:
            assert await upserted(client, [product(served)]) == [True]
            assert (await client.catalog("shop")).products == 6
            assert [each.name async for each in client.transfers.list("shop")] == []
            with pytest.raises(NotFoundError):
                await client.catalog("secret")
            with pytest.raises(PermissionDeniedError):
                await client.delete_catalog("shop", force=True)
        for token in (key, None):
            async with AsyncCatalogClient(ClientOptions(served.address, token=token)) as client:
                with pytest.raises(PermissionDeniedError if token else UnauthenticatedError):
                    await upserted(client, [product(served)])

        def blocking() -> int:
            with CatalogClient(ClientOptions(served.address, token=importer)) as client:
                return client.catalog("shop").products

        assert await asyncio.to_thread(blocking) == 6


async def test_a_client_certificate_identifies_a_client(tmp_path: Path, rights: dict[str, Path]) -> None:
    authority = Authority(tmp_path)
    cert, private = authority.client_files(tmp_path)
    mine = 'methods = ["search"]\ncertificates = ["email:client@example.com"]'
    rights["policy_file"].write_text(POLICY.replace('methods = ["search"]', mine).replace('"shop"', '"default"'))
    server = {"tls_cert": authority.cert, "tls_key": authority.key, "tls_client_ca": authority.root}
    async with serving(rights={"policy_file": rights["policy_file"]}, server=server) as served:
        target = served.address.replace("127.0.0.1", "localhost")
        async with AsyncClient(ClientOptions(target, TlsOptions(authority.root, cert, private))) as client:
            assert (await client.find(PHOTO)).done is not None
