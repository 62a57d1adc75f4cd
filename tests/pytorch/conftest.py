"""Tests of `models export` that need PyTorch; `make models-reference` runs them in its environment."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("torch") is not None else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def operators() -> Iterator[None]:
    """Operators that torchvision needs next to PyTorch for CPUs; see `exported_samples.define_operators`."""
    from tests.congruence.exported_samples import define_operators

    library = define_operators()
    yield
    del library


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of tiny models."""
    from tests.support.tiny_models import build_repository

    return build_repository(tmp_path / "repository")
