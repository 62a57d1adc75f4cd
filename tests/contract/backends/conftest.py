"""The backend that a test of the contract suite runs on, each in its turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import BACKENDS, MILVUS, Backend, InMilvus


@pytest.fixture(params=[*BACKENDS, MILVUS])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every backend of `ports.Snapshot`, without a revision."""
    if request.param == MILVUS:
        server = request.getfixturevalue("milvus")
        made: Backend = InMilvus(tmp_path, server.uri)
    else:
        made = BACKENDS[request.param](tmp_path)
    yield made
    made.close()
