"""An installation without the package `embedded/`: it works with a Triton elsewhere, else it says what is missing."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from sightline_client.local_server import LocalServer
from tests.support.installed import copy_packages
from tests.support.remote_triton import RemoteTriton, remote_triton
from tests.support.small_shop import PHOTO, SmallShop, build_small_shop
from tests.support.world import asked, environment, search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
MISSING = "this installation has no embedded engine"
PRINT_FOUND = """
import importlib.util, sightline_server
print(sightline_server.__path__[0], importlib.util.find_spec("sightline_server.embedded"))
"""


@dataclass(frozen=True)
class Installation:
    """Copied packages without `embedded/`, and an empty home."""

    packages: Path
    home: Path

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of its commands."""
        return environment(SIGHTLINE_HOME=str(self.home), PYTHONPATH=str(self.packages), **more)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs `sightline` to its end."""
        command = [str(Path(sys.executable).with_name("sightline")), *arguments]
        return subprocess.run(command, env=self.variables(), capture_output=True, text=True, timeout=100, cwd=self.home)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation(copy_packages(tmp_path_factory.mktemp("packages")), tmp_path_factory.mktemp("home"))
    shutil.rmtree(made.packages / "sightline_server" / "embedded")
    command = [sys.executable, "-c", PRINT_FOUND]
    found = subprocess.run(command, env=made.variables(), capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(made.packages / "sightline_server"), "None"]
    return made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SmallShop:
    return build_small_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def triton(shop: SmallShop) -> Iterator[RemoteTriton]:
    """A Triton that the complete packages start."""
    with remote_triton(shop.repository) as started:
        yield started


@pytest.mark.parametrize("workers", [1, 2])
async def test_server_of_a_triton_elsewhere_answers(
    bare: Installation, shop: SmallShop, triton: RemoteTriton, workers: int, tmp_path: Path
) -> None:
    server = LocalServer(
        catalog=shop.catalog,
        extra_args=("--triton-url", triton.url, "--workers", str(workers)),
        env=bare.variables(),
        log=tmp_path / "log",
        start_timeout_s=100,
    )
    with server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            answer = await search(channel, asked(PHOTO, max_products=3))
        assert answer.objects
        assert all(len(products) == 3 for products in answer.products.values())
        log = (tmp_path / "log").read_text()
    assert f"the Triton at {triton.url}" in log
    assert os.listdir(bare.home) == []


def test_catalog_is_built_by_a_triton_elsewhere(
    bare: Installation, shop: SmallShop, triton: RemoteTriton, tmp_path: Path
) -> None:
    feed, out = shop.catalog.with_name("feed.csv"), tmp_path / "catalog"
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[engine]\ntriton_url = "{triton.url}"\n')
    built = bare.run("catalog", "build", str(feed), "--out", str(out), "--config", str(settings))
    assert built.returncode == 0, built.stderr
    ids = [bare.run("catalog", "ids", str(each), "--json").stdout for each in (out, shop.catalog)]
    assert len(json.loads(ids[0])) > 0
    assert ids[0] == ids[1]


def test_server_without_a_triton_says_what_is_missing(bare: Installation, shop: SmallShop) -> None:
    listen = ("--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
    ended = bare.run("serve", "--catalog", str(shop.catalog), *listen)
    assert ended.returncode == 2
    assert MISSING in ended.stderr.splitlines()[-1]
    assert "--triton-url HOST:PORT" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_engine_cannot_be_installed(bare: Installation) -> None:
    ended = bare.run("engine", "install")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"sightline: {MISSING}")


def test_doctor_fails_only_without_a_triton(bare: Installation, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('[engine]\ntriton_url = "127.0.0.1:8001"\n')
    verdicts = []
    for options in ((), ("--config", str(settings))):
        checks = json.loads(bare.run("doctor", "--json", *options).stdout)["checks"]
        verdicts += [check["verdict"] for check in checks if check["name"] == "engine"]
    assert verdicts == ["FAIL", "OK"]
