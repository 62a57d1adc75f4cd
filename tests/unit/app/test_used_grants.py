"""The store of used grants that the settings ask for, and the folder that workers get from their parent."""

import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sightline_server.access.grants.host_store import HostStore
from sightline_server.access.grants.process_store import ProcessStore
from sightline_server.app.consent import open_grant_file
from sightline_server.app.used_grants import open_used_grants, shared_by_workers
from sightline_server.cli.access_check import consent
from sightline_server.domain.checks import Verdict
from sightline_server.errors import SightlineError
from sightline_server.settings import Settings
from sightline_server.telemetry.metrics import Metrics
from tests.support.grants import ConsentService


def settings(*, workers: int = 1, mode: str = "required", **more: Any) -> Settings:
    keys = {"jwks_file": "/keys.json", "issuer": "i", "audience": "a", "mode": mode}
    return Settings.model_validate({"consent": {**keys, **more}, "server": {"workers": workers}})


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
        assert type(open_used_grants(stack, settings(**options), Metrics())) is kind
        assert len(os.listdir(tmp_path)) == (kind is HostStore)
    assert os.listdir(tmp_path) == []


async def test_a_folder_of_the_settings_is_used_and_stays(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store = open_used_grants(stack, settings(store_folder=tmp_path / "used"), Metrics())
        assert await store.use(b"k" * 32)
    assert os.listdir(tmp_path / "used") == [(b"k" * 32).hex()]


def test_the_doctor_reports_the_keys_of_grants(tmp_path: Path) -> None:
    service = ConsentService(tmp_path)
    assert list(consent(Settings())) == []
    asked = Settings.model_validate({"consent": service.settings("optional"), "catalog": {"path": "/c"}})
    [good] = consent(asked)
    assert (good.verdict, good.found) == (Verdict.OK, "default optional")
    service.path.unlink()
    [failed] = consent(asked)
    assert failed.verdict is Verdict.FAIL and str(service.path) in failed.found


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sightline_server.access.grants.verifying", None)
    with pytest.raises(SightlineError, match=r'needs joserfc: pip install "sightline\[jwt\]"'):
        open_grant_file(Settings.model_validate({"consent": ConsentService(tmp_path).settings()}))


async def test_workers_get_one_folder_from_their_parent(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        shared = shared_by_workers(stack, settings(workers=2))
        assert shared.consent.store_folder is not None and shared.consent.store_folder.is_dir()
        one, two = (open_used_grants(stack, shared, Metrics()) for _ in range(2))
        assert await one.use(b"k" * 32) and not await two.use(b"k" * 32)
        given = settings(workers=2, store_folder=tmp_path / "used")
        assert shared_by_workers(stack, given) is given
        off = settings(workers=2, mode="off")
        assert shared_by_workers(stack, off) is off, "no folder without grants"
    assert os.listdir(tmp_path) == []
