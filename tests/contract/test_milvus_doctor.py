"""The findings of `sightline doctor` about catalogs in Milvus, with the real Milvus."""

import sys
from pathlib import Path

import pytest

from sightline_server.cli.doctor import examine
from sightline_server.cli.milvus_check import milvus_catalogs
from sightline_server.domain.checks import Check, Verdict
from sightline_server.index.milvus import lease
from sightline_server.index.milvus.client import Milvus
from sightline_server.settings import Settings
from tests.contract.test_milvus_catalogs import pushed, rows
from tests.support.milvus_server import MilvusServer


def found(uri: str, name: str, **part: object) -> Check:
    settings = Settings(catalogs={name: {"backend": "milvus", "uri": uri, **part}})  # type: ignore[dict-item]
    [check] = milvus_catalogs(settings)
    assert check.name == f"catalog {name}"
    return check


def test_a_catalog_in_milvus_is_described(milvus: MilvusServer, tmp_path: Path) -> None:
    products = rows(20)
    done = pushed(milvus, tmp_path / "shop", "examined", products)
    check = found(milvus.uri, "examined")
    images = sum(len(row.images) for row in products)
    assert (check.verdict, check.hint) == (Verdict.OK, "")
    address = milvus.uri
    assert check.found.endswith(
        f" at {address}: sightline_examined names {done.collection}, 20 products, {images} images"
    )
    assert check.found.startswith("Milvus ") and "2.3.5" in check.found
    client = Milvus(milvus.uri)
    held = lease.Lease(client, "examined", lease.Holder("a push"))
    assert held.attempt()
    assert found(milvus.uri, "examined").hint.startswith("it is being changed by a push on ")
    held.release()
    client.close()
    check = found(milvus.uri, "examined", path=tmp_path / "shop")
    assert check.verdict is Verdict.WARN and "not writable" in check.found and "--writable" in check.hint
    check = found(milvus.uri, "nowhere")
    assert check.verdict is Verdict.WARN and "has no alias sightline_nowhere" in check.found


def test_a_milvus_that_is_away_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sightline_server.cli.milvus_check.CALL_S", 0.5)
    check = found("http://user:secret@127.0.0.1:1", "away")
    assert check.verdict is Verdict.WARN and "Milvus at 127.0.0.1:1 does not answer within 0.5 s" in check.found
    assert "secret" not in check.found + check.hint
    check = found("http://127.0.0.1:1", "away", token_file=tmp_path / "token")
    assert check.verdict is Verdict.WARN and "its token file cannot be read: No such file" in check.found


def test_a_server_without_pymilvus_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sightline_server.index.milvus.client", None)
    assert found("http://127.0.0.1:1", "shop").verdict is Verdict.FAIL


def test_the_doctor_asks_about_every_catalog_in_milvus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sightline_server.index.milvus.client", None)
    part = {"backend": "milvus", "uri": "http://127.0.0.1:1"}
    names = [check.name for check in examine(Settings(catalogs={"a": part, "b": part}))]  # type: ignore[dict-item]
    assert [name for name in names if name.startswith("catalog ")] == ["catalog a", "catalog b"]
