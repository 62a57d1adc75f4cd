"""The store of used grants that the settings ask for, and the folder that workers get from their parent."""

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sightline_server.access.grants.host_store import HostStore
from sightline_server.access.grants.process_store import ProcessStore
from sightline_server.app.used_grants import open_used_grants, shared_by_workers
from sightline_server.settings import Settings


def settings(*, workers: int = 1, mode: str = "required", **consent: Any) -> Settings:
    keys = {"jwks_file": "/keys.json", "issuer": "i", "audience": "a", "mode": mode}
    return Settings.model_validate({"consent": {**keys, **consent}, "server": {"workers": workers}})


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, ProcessStore),
        ({"store": "process"}, ProcessStore),
        ({"store": "host"}, HostStore),
        ({"workers": 2}, HostStore),
    ],
)
async def test_the_store_fits_the_settings_and_ends_with_the_server(
    options: dict[str, Any], kind: type, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        assert type(open_used_grants(stack, settings(**options))) is kind
        assert len(os.listdir(tmp_path)) == (kind is HostStore)
    assert os.listdir(tmp_path) == []


async def test_a_folder_of_the_settings_is_used_and_stays(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store = open_used_grants(stack, settings(store_folder=tmp_path / "used"))
        assert await store.use(b"k" * 32)
    assert os.listdir(tmp_path / "used") == [(b"k" * 32).hex()]


async def test_workers_get_one_folder_from_their_parent(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        shared = shared_by_workers(stack, settings(workers=2))
        assert shared.consent.store_folder is not None and shared.consent.store_folder.is_dir()
        one, two = (open_used_grants(stack, shared) for _ in range(2))
        assert await one.use(b"k" * 32) and not await two.use(b"k" * 32)
        given = settings(workers=2, store_folder=tmp_path / "used")
        assert shared_by_workers(stack, given) is given
        off = settings(workers=2, mode="off")
        assert shared_by_workers(stack, off) is off, "no folder without grants"
    assert os.listdir(tmp_path) == []
