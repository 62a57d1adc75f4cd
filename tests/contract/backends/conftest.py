"""The backend that a test of the contract suite runs on, each in its turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backend_shop import AHEAD
from tests.support.backends import BACKENDS, MILVUS, Backend, InMilvus, PushedCatalogs
from tests.support.milvus_server import MilvusServer


@pytest.fixture(scope="package")
def pushed(milvus: MilvusServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushedCatalogs]:
    """The catalogs of all tests here in Milvus; those that are known beforehand are on their way."""
    catalogs = PushedCatalogs(tmp_path_factory.mktemp("pushed"), milvus.uri)
    for rows in AHEAD:
        catalogs.push(rows)
    yield catalogs
    catalogs.close()


@pytest.fixture(params=[*BACKENDS, MILVUS])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every backend of `ports.Snapshot`, without a revision."""
    if request.param == MILVUS:
        made: Backend = InMilvus(request.getfixturevalue("pushed"))
    else:
        made = BACKENDS[request.param](tmp_path)
    yield made
    made.close()
