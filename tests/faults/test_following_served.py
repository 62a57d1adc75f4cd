"""A real writer and a real replica: revisions that follow, writes that are refused, a source and a writer that go."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from load_tests.observe.scrapes import scrape
from load_tests.replicas.envoy import free_ports
from sightline_client import Client
from sightline_client.local_server import LocalServer
from sightline_server.index.catalog import read_identity
from tests.support.engine import CHECKOUT
from tests.support.small_shop import PHOTO, PRODUCTS, SmallShop

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]
WITHIN_S = 60.0
"""Seconds for a revision on a busy machine; on a free one it takes two, and some more with workers."""


@contextmanager
def served(shop: SmallShop, folder: Path, *arguments: str, **catalog: Path) -> Iterator[LocalServer]:
    """A server whose only catalog has these settings."""
    config = folder / f"{catalog['path'].name}.toml"
    lines = [f"{name} = {json.dumps(str(value))}" for name, value in catalog.items()]
    config.write_text("\n".join(["[catalogs.default]", *lines]))
    named = ["--config", str(config), *arguments]
    with LocalServer(extra_args=named, env=shop.variables(), log=folder / f"{config.stem}.log") as server:
        yield server


def command(shop: SmallShop, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`sightline catalog ...` for a running server."""
    whole = [sys.executable, "-m", "sightline_client.cli", "catalog", *arguments]
    return subprocess.run(whole, env=shop.variables(), capture_output=True, text=True, timeout=60, cwd=CHECKOUT)


def changed(shop: SmallShop, target: str, *arguments: str) -> None:
    """A change of the catalog of the writer at `target`."""
    done = command(shop, *arguments, "--catalog", "default", "--target", target)
    assert done.returncode == 0, done.stderr


def until_served(server: LocalServer, number: int, products: int) -> None:
    """Waits until revision `number` is served with so many `products`: of several workers the last one counts."""
    began = time.monotonic()
    while time.monotonic() - began < WITHIN_S:
        page = scrape(server.metrics_url)
        found = [labels for (name, labels), value in page.samples.items() if name == "sightline_catalog_info" and value]
        revisions = [dict(labels)["revision"] for labels in found]
        served = any(revision.startswith(f"{number}-") for revision in revisions)
        if served and page.sum("sightline_catalog_products") == products:
            return
        time.sleep(0.2)
    raise AssertionError(f"revision {number} was not served: {server.log_tail(40)}")


@pytest.mark.parametrize("workers", [1, 2])
def test_replica_follows_its_writer_and_outlives_it(shop: SmallShop, tmp_path: Path, workers: int) -> None:
    writer_path, copy, share = tmp_path / "writer", tmp_path / "copy", tmp_path / "share"
    shutil.copytree(shop.catalog, writer_path)
    share.mkdir()
    writes, refuses = (f"127.0.0.1:{port}" for port in free_ports(2))
    own = ("--catalog-listen", refuses) if workers == 1 else ("--workers", "2")
    with served(shop, tmp_path, "--catalog-listen", writes, path=writer_path, publish=share) as writer:
        began = time.monotonic()
        while not (share / "CURRENT").exists():
            assert time.monotonic() - began < WITHIN_S
            time.sleep(0.1)
        with served(shop, tmp_path, *own, path=copy, follow=share) as replica:
            until_served(replica, 1, PRODUCTS)
            changed(shop, writes, "delete", "small-00")
            changed(shop, writes, "activate", "1")
            until_served(replica, 3, PRODUCTS)
            if workers == 1:
                changed(shop, writes, "activate", "2")
                until_served(replica, 4, PRODUCTS - 1)
                refused = command(shop, "delete", "small-01", "--catalog", "default", "--target", refuses)
                assert refused.returncode != 0
                assert "it is a replica, which follows the revisions of its writer" in refused.stderr
            writer.send_signal(signal.SIGKILL)
            shutil.move(share, tmp_path / "elsewhere")
            replica.send_signal(signal.SIGKILL)
    if workers == 1:
        assert read_identity(copy)[0].startswith("4-")
        with served(shop, tmp_path, path=copy, follow=share) as replica:
            until_served(replica, 4, PRODUCTS - 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_single_writes_are_found_on_a_replica_within_seconds(shop: SmallShop, tmp_path: Path, workers: int) -> None:
    writer_path, copy, share = tmp_path / "writer", tmp_path / "copy", tmp_path / "share"
    shutil.copytree(shop.catalog, writer_path)
    share.mkdir()
    [writes] = (f"127.0.0.1:{port}" for port in free_ports(1))
    with served(shop, tmp_path, "--catalog-listen", writes, path=writer_path, publish=share) as writer:
        began = time.monotonic()
        while not (share / "CURRENT").exists():
            assert time.monotonic() - began < WITHIN_S
            time.sleep(0.1)
        with served(shop, tmp_path, "--workers", str(workers), path=copy, follow=share) as replica:
            gone = min(found_ids(replica))
            changed(shop, writes, "delete", gone)
            began = time.monotonic()
            # Each worker applies the deletion for itself.
            while scrape(replica.metrics_url).sum("sightline_replica_operations_total") < workers:
                assert time.monotonic() - began < WITHIN_S, replica.log_tail(40)
                time.sleep(0.1)
            for _ in range(4):
                assert gone not in found_ids(replica)
            until_served(replica, 1, PRODUCTS)
            writer.send_signal(signal.SIGKILL)
            shutil.move(share, tmp_path / "elsewhere")
            replica.send_signal(signal.SIGKILL)
    with served(shop, tmp_path, "--workers", str(workers), path=copy, follow=share) as replica:
        for _ in range(4):
            assert gone not in found_ids(replica), "a replica that starts again has what it had"


def found_ids(server: LocalServer) -> set[str]:
    """The ids of all products that a search finds, on a new connection: of several workers any may answer."""
    with Client(server.target) as client:
        answer = client.find(PHOTO, max_products=PRODUCTS)
    return {found.product.id for each in answer.objects for found in each.products}


def test_server_without_a_copy_and_a_source_says_so(shop: SmallShop, tmp_path: Path) -> None:
    config = tmp_path / "replica.toml"
    config.write_text(f'[catalogs.default]\npath = "{tmp_path}/copy"\nfollow = "{tmp_path}/share"\n')
    whole = [sys.executable, "-m", "sightline_server", "serve", "--config", str(config), "--listen", "127.0.0.1:0"]
    whole += ["--metrics-listen", "127.0.0.1:0"]
    done = subprocess.run(whole, env=shop.variables(), capture_output=True, text=True, timeout=60, cwd=CHECKOUT)
    assert done.returncode == 1
    assert "nothing is published in" in done.stderr
