"""Debian's Prometheus against a live server with traffic: every expression of dashboard, rules and alerts is evaluated.

The server, its Triton, the catalog and the configuration of Prometheus are real, the models tiny.
"""

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from PIL import Image, ImageDraw

from scripts.dashboard_panels.machine import GPU
from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import product_pb2
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline_client import Client, InvalidRequestError
from sightline_client.local_server import LocalServer
from tests.support.engine import CHECKOUT, sightline_home
from tests.support.prometheus import Prometheus, filled_in, shipped_config

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

TRAFFIC_S = 12.0
CALLERS = 3
SELECTOR = re.compile(r'(?<!["\w:])((?:sightline_|nv_|process_|job:|batcher:|catalog:|up\b)[\w:]*(?:\{[^}]*\})?)')


NOT_HERE = (
    "sightline_catalog_merge_seconds_sum",
    "sightline_quota_refusals_total",
    "sightline_milvus_",
    "sightline_catalog_available",
    "sightline_replica_",
    "sightline_publication_",
)
"""Metrics that have no series here: nothing is merged, nobody has a quota, and no catalog is in Milvus or a replica."""


def is_not_here(expression: str) -> bool:
    """Returns whether `expression` asks for a metric without a series; `test_milvus_catalogs.py` has Milvus's."""
    return any(name in expression for name in NOT_HERE)


@dataclass(frozen=True)
class Observed:
    """A Prometheus that has seen a server at work until the instant `at`."""

    prometheus: Prometheus
    at: float


@pytest.fixture(scope="module")
def observed(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("prometheus")
    environment = {"SIGHTLINE_HOME": str(sightline_home()), "SIGHTLINE_ENGINE__REPOSITORY": str(tiny_repository)}
    environment["SIGHTLINE_ENGINE__METRICS_PORT"] = "0"
    environment["SIGHTLINE_SERVER__CATALOG_LISTEN"] = "127.0.0.1:0"
    environment["SIGHTLINE_ACCESS__POLICY_FILE"] = str(open_policy(folder))
    catalog = build_catalog(folder, environment)
    log = folder / "server.log"
    with LocalServer(catalog=catalog, env=environment, log=log) as server:
        triton = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", log.read_text())
        assert triton, log.read_text()
        # As if a GPU had been asked for, which is not there.
        with Prometheus(shipped_config(server.metrics_url, triton[1], accelerator="gpu"), folder) as prometheus:
            wait_for(prometheus, 'sightline_requests_total{code="OK"} and on () up{job="triton"} == 1')
            writes = re.search(r"CatalogService listens on (\S+)", log.read_text())
            assert writes, log.read_text()
            with ThreadPoolExecutor(1) as writer:
                written = writer.submit(write_products, writes[1])
                send_traffic(server.target)
                written.result()
            wait_for(prometheus, "catalog:sightline_stale:ratio_rate5m")
            yield Observed(prometheus, time.time())


def open_policy(folder: Path) -> Path:
    """A policy that allows everything to everyone, so that its metrics are there."""
    path = folder / "policy.toml"
    path.write_text('[principals.anonymous]\ncatalogs = ["*"]\nmethods = ["*"]\n')
    return path


def build_catalog(folder: Path, environment: dict[str, str]) -> Path:
    """Twelve products of twelve colours, built by the command."""
    rows = []
    for number in range(12):
        name = f"p{number}.png"
        (folder / name).write_bytes(photo(number))
        rows.append({"id": f"p{number}", "title": f"Product {number}", "image_link": name, "price": "5.00 USD"})
    with (folder / "feed.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    command = [str(Path(sys.executable).with_name("sightline")), "catalog", "build"]
    built = subprocess.run(
        [*command, str(folder / "feed.csv"), "--out", str(folder / "catalog")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder / "catalog"


def photo(number: int) -> bytes:
    """An image in which the tiny detector finds several objects: it takes red for an object."""
    picture = Image.new("RGB", (128, 128), (200, 10 * number, 255 - 20 * number))
    ImageDraw.Draw(picture).ellipse((10 + number, 20, 80, 100 - number), fill=(255, 20 * number, 30))
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()


def send_traffic(target: str) -> None:
    """Good photos from several callers, and now and then bytes that are none."""
    until = time.monotonic() + TRAFFIC_S

    def caller(number: int) -> int:
        answered = 0
        with Client(target) as client:
            while time.monotonic() < until:
                answered += bool(client.find(photo(number % 12)).objects)
                number += 1
                if number % 5 == 0:
                    with pytest.raises(InvalidRequestError):
                        client.find(b"no photo")
        return answered

    with ThreadPoolExecutor(CALLERS) as callers:
        assert all(answered > 5 for answered in callers.map(caller, range(CALLERS)))


def write_products(target: str) -> None:
    """Products that are written while others search, and a rollback to what was built, which is a revision."""
    until, number = time.monotonic() + TRAFFIC_S, 0
    with grpc.insecure_channel(target) as channel:
        service = CatalogServiceStub(channel)
        while time.monotonic() < until:
            answers = service.UpsertProducts(iter([upsert(number)]), timeout=30)
            assert [answer.status.status.code for answer in answers] == [0]
            number += 1
            if number % 10 == 0:
                service.ActivateRevision(pb.ActivateRevisionRequest(name="catalogs/default/revisions/1"), timeout=30)
            time.sleep(0.1)
    assert number > 10


def upsert(number: int) -> pb.UpsertProductsRequest:
    """One product with an image that the server embeds."""
    image = pb.ProductImage(link=f"https://shop.example/{number}.png", data=photo(number % 12))
    fields = product_pb2.Product(id=f"new{number}", title="New", price="5.00 USD")
    return pb.UpsertProductsRequest(
        parent="catalogs/default", product=pb.CatalogProduct(product=fields, images=[image])
    )


def wait_for(prometheus: Prometheus, expression: str) -> None:
    """Returns when `expression` has a sample, which a few scrapes bring."""
    deadline = time.monotonic() + 20
    while not prometheus.query(expression):
        assert time.monotonic() < deadline, f"no sample of {expression}"
        time.sleep(0.2)


def dashboard_queries() -> list[tuple[str, str]]:
    """Row and expression of every query of the dashboard."""
    row, found = "", []
    for panel in json.loads((CHECKOUT / "deploy/grafana/sightline.json").read_text())["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        found += [(row, target["expr"]) for target in panel.get("targets", ())]
    assert len(found) > 30
    return found


def test_every_expression_of_the_dashboard_returns_figures(observed: Observed) -> None:
    empty = []
    for row, expression in dashboard_queries():
        samples = observed.prometheus.query(filled_in(expression), observed.at)
        # Those panels, and those of the GPU, must be asked without an error, no more.
        absent = row == GPU.title or is_not_here(expression)
        if not absent and not any(math.isfinite(sample.value) for sample in samples):
            empty.append(expression)
    assert not empty


def test_every_recording_rule_has_recorded(observed: Observed) -> None:
    recording = [rule for rule in observed.prometheus.rules() if rule["type"] == "recording"]
    assert len(recording) > 10
    assert [rule for rule in recording if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in recording if not observed.prometheus.query(rule["name"], observed.at)] == []


def test_every_alert_is_evaluated_on_series_that_exist(observed: Observed) -> None:
    alerts = [rule for rule in observed.prometheus.rules() if rule["type"] == "alerting"]
    assert len(alerts) > 10
    assert [rule for rule in alerts if rule["health"] != "ok"] == []
    for alert in alerts:
        observed.prometheus.query(alert["query"], observed.at)
        selectors = SELECTOR.findall(alert["query"])
        assert selectors, alert["query"]
        missing = [selector for selector in selectors if not observed.prometheus.query(selector, observed.at)]
        assert [selector for selector in missing if not is_not_here(selector)] == [], alert["name"]


def test_every_query_of_the_runbook_is_valid(observed: Observed) -> None:
    blocks = re.findall(r"(?ms)^```promql\n(.*?)^```", (CHECKOUT / "docs" / "operate" / "runbook.md").read_text())
    queries = [line for block in blocks for line in block.splitlines()]
    assert len(queries) > 20
    for query in queries:
        # A query that Prometheus cannot read raises; many have no samples on a healthy server.
        observed.prometheus.query(query, observed.at)


def test_a_healthy_server_raises_no_alert_but_the_one_for_the_missing_gpu(observed: Observed) -> None:
    states = {rule["name"]: rule["state"] for rule in observed.prometheus.rules() if rule["type"] == "alerting"}
    # Its `for` is five minutes, so it is pending.
    assert states.pop("SightlineEngineOnCpu") == "pending"
    assert set(states.values()) == {"inactive"}, states


def test_the_figures_are_those_of_the_traffic(observed: Observed) -> None:
    codes = {
        sample.labels["code"]: sample.value for sample in observed.prometheus.query("sightline_requests_total > 0")
    }
    assert set(codes) == {"OK", "INVALID_ARGUMENT"}
    found = observed.prometheus.query('sightline_catalog_freshness_checks_total{outcome="found"}')
    missed = observed.prometheus.query('sightline_catalog_freshness_checks_total{outcome="missed"}')
    assert (found[0].value > 2, missed[0].value) == (True, 0)
    (items,) = observed.prometheus.query('nv_inference_count{model="embedder"}')
    # The two are scraped a moment apart while the traffic goes on.
    (batched,) = observed.prometheus.query('sightline_batch_size_sum{batcher="crops"} offset 3s')
    assert items.value >= batched.value > codes["OK"]
