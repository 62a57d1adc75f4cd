"""The chart's network policy and route: named callers reach the ports, and the server reaches what it needs."""

from typing import Any

import pytest

from scripts.chart.rendering import CHART, ChartError, rendered
from sightline.v1 import lens_service_pb2
from tests.support.chart import (
    ALL,
    EMBEDDED,
    EVERYTHING,
    IN_MILVUS,
    REMOTE,
    REPLICAS,
    SIDECAR,
    WRITER,
    containers,
    helm,
    one,
)

SERVICES = set(lens_service_pb2.DESCRIPTOR.services_by_name)


def policy(values: str, *options: str) -> dict[str, Any]:
    return dict(one(values, "NetworkPolicy", *options)["spec"])


@pytest.mark.parametrize("values", ALL)
def test_network_policy_admits_named_callers_to_the_ports(values: str) -> None:
    admitted = {}
    for rule in policy(values)["ingress"]:
        assert rule["from"], "a rule without callers admits everyone"
        assert all(peer.get("podSelector", {}).get("matchLabels") for peer in rule["from"])
        admitted.update({port["port"]: rule["from"] for port in rule["ports"]})
    ports = {port["name"] for each in containers(values).values() for port in each["ports"]}
    assert set(admitted) == ports
    assert admitted["grpc"] != admitted["metrics"]
    if "catalog" in ports:
        assert admitted["catalog"] not in (admitted["grpc"], admitted["metrics"]), "not everyone who searches may write"
    assert {str(admitted[port]) for port in ports - {"grpc", "catalog"}} == {str(admitted["metrics"])}


@pytest.mark.parametrize("values", [EMBEDDED, SIDECAR, WRITER, REPLICAS])
def test_network_policy_lets_nothing_out_of_a_server_that_calls_nobody(values: str) -> None:
    assert policy(values)["policyTypes"] == ["Ingress", "Egress"]
    assert policy(values)["egress"] == []


def test_network_policy_lets_out_to_the_remote_triton_and_to_dns() -> None:
    dns, triton = policy(REMOTE)["egress"]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert triton["ports"] == [{"protocol": "TCP", "port": 8001}]
    assert all(rule["to"] for rule in (dns, triton)), "a rule without peers lets out to everyone"


def test_network_policy_lets_out_to_milvus_and_to_dns() -> None:
    dns, milvus = policy(IN_MILVUS)["egress"]
    assert dns["ports"][0]["port"] == 53
    assert milvus["ports"] == [{"protocol": "TCP", "port": 19530}]
    assert all(rule["to"] for rule in (dns, milvus)), "a rule without peers lets out to everyone"


def test_network_policy_has_the_rules_of_the_user_and_dns() -> None:
    dns, milvus, collector = policy(EVERYTHING)["egress"]
    assert dns["ports"][0]["port"] == 53
    assert milvus["to"] == [{"podSelector": {"matchLabels": {"app": "milvus"}}}]
    assert collector["ports"] == [{"protocol": "TCP", "port": 4317}]


@pytest.mark.parametrize("values", ALL)
def test_no_policy_is_rendered_where_it_is_off(values: str) -> None:
    items = rendered(helm(), "--values", str(CHART / values), "--set", "networkPolicy.enabled=false")
    assert "NetworkPolicy" not in {each["kind"] for each in items}


@pytest.mark.parametrize(
    ("values", "option", "message"),
    [
        (REMOTE, "engine.remote.peers=[]", "engine.remote.peers"),
        (EVERYTHING, "grpcRoute.peers=[]", "grpcRoute.peers"),
        (IN_MILVUS, "milvus.peers=[]", "milvus.peers"),
        (WRITER, "replication.editors=[]", "replication.editors"),
    ],
)
def test_policy_that_would_cut_off_a_needed_peer_is_refused(values: str, option: str, message: str) -> None:
    with pytest.raises(ChartError, match=f"{message} is empty"):
        rendered(helm(), "--values", str(CHART / values), "--set-json", option)


def test_route_leads_searches_to_the_service() -> None:
    [rule] = one(EVERYTHING, "GRPCRoute")["spec"]["rules"]
    [backend] = rule["backendRefs"]
    service = one(EVERYTHING, "Service")
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"] in {port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc"}
    methods = [match["method"]["service"] for match in rule["matches"]]
    assert methods == [f"sightline.v1.{name}" for name in SERVICES]


def test_route_is_refused_without_a_gateway() -> None:
    with pytest.raises(ChartError, match="parentRefs"):
        rendered(helm(), "--set", "grpcRoute.enabled=true")
