"""The backend that a test of the contract suite runs on, each in its turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import BACKENDS, Backend


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every backend of `ports.Snapshot`, without a revision."""
    made = BACKENDS[request.param](tmp_path)
    yield made
    made.close()
