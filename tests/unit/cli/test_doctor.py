"""The doctor's report on machines that differ from this one."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightline_server.cli import doctor, folders, surroundings
from sightline_server.domain.address import TcpAddress
from sightline_server.domain.checks import Verdict
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.settings import EngineSettings, ServerSettings, Settings, TransferSettings
from sightline_server.triton import sharing
from sightline_server.triton.sharing import Room
from tests.support.catalogs import SPEC


def versions(**installed: str) -> Callable[[str], str]:
    def version_of(name: str) -> str:
        try:
            return installed[name.replace("-", "_")]
        except KeyError:
            raise PackageNotFoundError(name) from None

    return version_of


def test_doctor_expects_exactly_one_faiss() -> None:
    assert doctor.faiss(has_gpu=False, version_of=versions()).verdict is Verdict.FAIL
    two = doctor.faiss(has_gpu=False, version_of=versions(faiss_cpu="1", faiss_gpu="2"))
    assert (two.verdict, two.found) == (Verdict.FAIL, "faiss-cpu 1, faiss-gpu 2")
    assert doctor.faiss(has_gpu=False, version_of=versions(faiss_cpu="1")).verdict is Verdict.OK
    assert doctor.faiss(has_gpu=True, version_of=versions(faiss_cpu="1")).verdict is Verdict.WARN
    assert doctor.faiss(has_gpu=True, version_of=versions(faiss_gpu_cuvs="1")).verdict is Verdict.OK


def test_a_c_library_that_does_not_overwrite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(doctor, "is_glibc", lambda: True)
    assert doctor.freed_memory().found == "overwritten"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=7")
    assert "GLIBC_TUNABLES" in doctor.freed_memory().found
    monkeypatch.setattr(doctor, "is_glibc", lambda: False)
    assert (doctor.freed_memory().verdict, "privacy.md" in doctor.freed_memory().hint) == (Verdict.WARN, True)


def test_a_taken_port_is_named_with_its_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = TcpAddress("127.0.0.1", taken.getsockname()[1])
        check = surroundings.port("metrics port", address)
    assert check.verdict is Verdict.WARN
    assert check.found == f"{address}: address already in use"
    assert "--metrics-listen" in check.hint
    assert surroundings.port("gRPC port", address).verdict is Verdict.OK


def test_ports_that_others_reach_fail_as_serve_refuses_them() -> None:
    def verdicts(**server: Any) -> dict[str, str]:
        found = doctor.examine(Settings(server=ServerSettings(**server)))
        return {check.name: check.verdict.value for check in found if check.name.endswith(" port")}

    everywhere = {"listen": "0.0.0.0:0", "metrics_listen": "0.0.0.0:0"}
    assert verdicts(**everywhere) == {"gRPC port": "FAIL", "metrics port": "FAIL"}
    assert verdicts(**everywhere, insecure=True) == {"gRPC port": "OK", "metrics port": "FAIL"}
    assert verdicts(**everywhere, metrics_insecure=True) == {"gRPC port": "FAIL", "metrics port": "OK"}


def test_shared_memory_that_is_missing_fails(tmp_path: Path) -> None:
    assert surroundings.shared_memory(Settings(), tmp_path / "none").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("free_mib", "embedded", "remote"),
    [(256, "OK", "OK"), (255, "WARN", "WARN"), (64, "WARN", "WARN"), (48, "WARN", "WARN"), (47, "FAIL", "WARN")],
)
def test_shared_memory_is_weighed_by_the_engine_that_needs_it(
    free_mib: int, embedded: str, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "room", lambda folder: Room(512 << 20, free_mib << 20))
    here, elsewhere = Settings(), Settings(engine=EngineSettings(triton_url=TcpAddress("triton", 8001)))
    for settings, verdict in ((here, embedded), (elsewhere, remote)):
        check = surroundings.shared_memory(settings, tmp_path)
        assert (check.verdict.value, f"{free_mib} of 512 MiB free" in check.found) == (verdict, True)


@pytest.mark.parametrize("password", ["secret", "secret/x", "x/secret", "sec@secret", "a://secret", "secret?#"])
@pytest.mark.parametrize("scheme", ["", "http://", "SOCKS5://"])
def test_no_password_of_a_proxy_is_shown(scheme: str, password: str) -> None:
    assert surroundings.without_credentials(f"{scheme}user:{password}@proxy:3128/p") == f"{scheme}proxy:3128"


def test_proxies_are_named_without_their_credentials() -> None:
    assert list(surroundings.proxies({"no_proxy": "x", "http_proxy": "", "PATH": "/"})) == []
    named = {"HTTPS_PROXY": "http://user:secret@proxy.example:8080/x", "ALL_PROXY": "socks5://10.0.0.1:1080"}
    (check,) = surroundings.proxies(named)
    assert check.found == "ALL_PROXY=socks5://10.0.0.1:1080, HTTPS_PROXY=http://proxy.example:8080"
    assert check.hint == "for image downloads and pip; never for this machine"
    (check,) = surroundings.proxies({"grpc_proxy": "u:secret@10.0.0.1:1", "NO_PROXY": ".example"})
    assert check.found == "grpc_proxy=10.0.0.1:1"
    assert "on other hosts, but not for .example; never for this machine" in check.hint


def test_user_without_a_home_is_told_what_to_set() -> None:
    check = surroundings.home_folder(Settings(home=None))
    assert (check.verdict, "SIGHTLINE_HOME" in check.hint) == (Verdict.FAIL, True)
    elsewhere = Settings(home=None, engine=EngineSettings(triton_url=TcpAddress("triton", 8001)))
    assert surroundings.home_folder(elsewhere).verdict is Verdict.OK


def test_gpus_are_read_from_nvidia_smi() -> None:
    def answers(*_: object, **__: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess([], 0, "NVIDIA H200, 143771 MiB, 580.1\n", "")

    def broken(*_: object, **__: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess([], 9, "no devices\n", "")

    def absent(*_: object, **__: object) -> "subprocess.CompletedProcess[str]":
        raise FileNotFoundError

    assert doctor.gpus(answers) == ["NVIDIA H200, 143771 MiB, 580.1"]
    assert doctor.gpus(broken) == []
    assert doctor.gpus(absent) == []


def test_a_bare_home_is_told_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    monkeypatch.setenv("SIGHTLINE_ENGINE__REPOSITORY", str(tmp_path / "repository"))
    ran = CliRunner().invoke(doctor.app, ["--json"])
    found = {check["name"]: check for check in json.loads(ran.output)["checks"]}
    assert (found["engine"]["verdict"], found["engine"]["hint"]) == ("WARN", "sightline engine install")
    assert (found["detector"]["verdict"], found["embedder"]["hint"]) == ("WARN", "sightline models pull")


def test_a_model_that_was_tampered_with_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repository/embedder/1").mkdir(parents=True)
    (tmp_path / "repository/embedder/1/model.onnx").write_bytes(b"something else")
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    monkeypatch.setenv("SIGHTLINE_ENGINE__REPOSITORY", str(tmp_path / "repository"))
    ran = CliRunner().invoke(doctor.app, [])
    assert ran.exit_code == 1
    assert "FAIL" in ran.output


@pytest.mark.parametrize(("workers", "cores", "verdicts"), [(1, 2, []), (4, 16, ["OK"]), (4, 8, ["WARN"])])
def test_workers_are_weighed_against_the_cores(workers: int, cores: int, verdicts: list[str]) -> None:
    settings = Settings(server=ServerSettings(workers=workers))
    assert [check.verdict.value for check in doctor.workers(settings, cores)] == verdicts


def test_commands_that_set_up_a_machine_start_without_the_libraries_of_the_server() -> None:
    libraries = ("faiss", "grpc", "lance", "numpy", "onnxruntime", "pyarrow", "tritonclient")
    code = f"""
import sys
import sightline_server.cli.doctor, sightline_server.cli.engine
from sightline_server.app.embedded import embedded_checks
assert embedded_checks()
print(sorted(set(sys.modules) & {set(libraries)}))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def folder_checks(**sections: Any) -> dict[str, tuple[str, str]]:
    """Verdict and finding of each folder that the settings name."""
    return {check.name: (check.verdict.value, check.found) for check in folders.folders(Settings(**sections))}


def test_folder_of_catalogs_is_judged_as_serve_judges_it(tmp_path: Path) -> None:
    def judged(folder: Path, **more: Any) -> tuple[str, str]:
        server = {"catalogs_folder": folder, "catalog_listen": "127.0.0.1:0"} | more
        return folder_checks(server=server, catalog={"path": tmp_path / "shop"})["catalogs folder"]

    root = tmp_path / "made"
    assert judged(root) == ("FAIL", f"server.catalogs_folder {root} is not a folder; make it, or name another one")
    with CatalogsFolder(tmp_path) as folder:
        root.mkdir()
        assert judged(root) == ("OK", f"0 catalogs in {root}")
        folder.create("shop", SPEC).rename(root / "shop")
    assert judged(root) == ("OK", f"1 catalog in {root}")
    assert list(root.iterdir()) == [root / "shop"], "nothing was made or locked"
    verdict, text = judged(root, catalog_listen=None)
    assert (verdict, "needs server.catalog_listen" in text) == ("FAIL", True)
    (root / "shop").rename(root / "default")
    verdict, text = judged(root)
    assert (verdict, "two catalogs have the name default" in text) == ("FAIL", True)


def test_folders_that_the_user_cannot_use_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, rights: False)
    server = {"catalogs_folder": tmp_path, "catalog_listen": "127.0.0.1:0"}
    transfer = {"import_folder": tmp_path, "export_folder": tmp_path}
    assert folder_checks(server=server, transfer=transfer) == {
        "catalogs folder": ("FAIL", f"this user cannot write to {tmp_path}"),
        "import folder": ("WARN", f"this user cannot read {tmp_path}"),
        "export folder": ("WARN", f"this user cannot write to {tmp_path}"),
    }


def test_folders_of_catalogs_that_follow_or_are_published_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, copy = tmp_path / "share", tmp_path / "var" / "copy"
    settings = {"a": {"path": copy, "follow": share}, "b": {"path": copy, "publish": share}}
    names = [f"catalog {name}, {verb}" for name, verb in (("a", "follow"), ("b", "publish"))]
    assert folder_checks(catalogs=settings) == dict.fromkeys(names, ("WARN", f"{share} is not a folder"))
    share.mkdir()
    assert folder_checks(catalogs=settings) == dict.fromkeys(names, ("OK", str(share)))
    monkeypatch.setattr(os, "access", lambda path, rights: False)
    assert folder_checks(catalogs=settings) == {
        names[0]: ("FAIL", f"this user cannot write to {tmp_path}, which will have the copy"),
        names[1]: ("WARN", f"this user cannot write to {share}"),
    }


def test_folder_of_the_audit_log_is_judged_by_the_nearest_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "var" / "audit"
    assert folder_checks(audit={"folder": folder}) == {"audit log": ("OK", str(folder))}
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "access", lambda path, rights: False)
    assert folder_checks(audit={"folder": folder}) == {"audit log": ("FAIL", f"this user cannot write to {tmp_path}")}


def test_folders_of_transfers_are_looked_for(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    found = folder_checks(transfer={"import_folder": tmp_path, "export_folder": missing})
    assert found == {"import folder": ("OK", str(tmp_path)), "export folder": ("WARN", f"{missing} is not a folder")}
    assert folder_checks() == {}
    everything = doctor.examine(Settings(transfer=TransferSettings(import_folder=missing)))
    assert [check.verdict for check in everything if check.name == "import folder"] == [Verdict.WARN]
