"""The chart's rules are those that the tests run, its dashboard is the repository's, and its query counts demand."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from scripts.chart.rendering import ChartError, rendered
from sightline_server.telemetry.metrics import Metrics
from tests.support.chart import EMBEDDED, EVERYTHING, REMOTE, WRITER, containers, copied, helm, objects, one, pod
from tests.support.engine import CHECKOUT
from tests.support.prometheus import DEPLOY, program

RULE_FILES = sorted((DEPLOY / "rules").glob("*.yml"))
JOB = re.compile(r'job="([^"]+)"')


def test_rendered_rules_equal_those_that_the_tests_run() -> None:
    items = [each for each in objects(EVERYTHING) if each["kind"] == "PrometheusRule"]
    rendered_rules = {each["metadata"]["name"].removeprefix("sightline-"): each["spec"] for each in items}
    assert rendered_rules == {path.stem: yaml.safe_load(path.read_text()) for path in RULE_FILES}
    assert rendered_rules


def test_rule_files_of_the_tests_and_of_the_configuration_are_all_of_them() -> None:
    names = {path.name for path in RULE_FILES}
    tested = [yaml.safe_load(path.read_text())["rule_files"] for path in (DEPLOY / "tests").glob("*.yml")]
    configured = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["rule_files"]
    assert {Path(each).name for files in tested for each in files} == names
    assert {Path(each).name for each in configured} == names


@pytest.mark.parametrize("test", sorted((DEPLOY / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_each_promtool_test_names_all_groups_of_its_rules_in_their_order(test: Path) -> None:
    """promtool evaluates the others in a random order, so that an alert may read the record of a minute before."""
    played = yaml.safe_load(test.read_text())
    rules = [yaml.safe_load((test.parent / each).read_text()) for each in played["rule_files"]]
    assert played["group_eval_order"] == [group["name"] for file in rules for group in file["groups"]]


def test_dashboard_is_the_file_of_the_repository() -> None:
    data = one(EVERYTHING, "ConfigMap", ends="-dashboard")["data"]
    assert json.loads(data["sightline.json"]) == json.loads(
        (CHECKOUT / "deploy" / "grafana" / "sightline.json").read_text()
    )


@pytest.mark.parametrize(("flag", "link"), [("prometheusRule", "files/rules"), ("dashboard", "files/grafana")])
def test_copy_of_the_chart_without_the_linked_files_is_refused(flag: str, link: str, tmp_path: Path) -> None:
    chart = copied(tmp_path, linked=False)
    with pytest.raises(ChartError, match=link):
        rendered(helm(), "--set", f"{flag}.enabled=true", chart=chart)


def test_monitor_finds_the_ports_of_the_service() -> None:
    monitor, service = one(EVERYTHING, "ServiceMonitor")["spec"], one(EVERYTHING, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {each["port"] for each in monitor["endpoints"]} == ports - {"grpc"}


def relabelled(endpoint: dict[str, Any], label: str) -> dict[str, Any]:
    [rule] = [each for each in endpoint["relabelings"] if each["targetLabel"] == label]
    return dict(rule)


def test_monitor_gives_the_labels_that_the_rules_need() -> None:
    monitor = one(EVERYTHING, "ServiceMonitor")["spec"]
    asked = {job for path in RULE_FILES for job in JOB.findall(path.read_text())}
    jobs = {relabelled(each, "job")["replacement"] for each in monitor["endpoints"]}
    assert asked <= jobs == {"sightline", "triton"}
    for endpoint in monitor["endpoints"]:
        assert relabelled(endpoint, "instance")["sourceLabels"] == ["__meta_kubernetes_pod_name"]
    [label] = monitor["podTargetLabels"]
    assert [pod(values)["metadata"]["labels"][label] for values in (EMBEDDED, REMOTE)] == ["cpu", "gpu"]
    assert "triton" not in containers(EMBEDDED)
    writer = one(WRITER, "ServiceMonitor", "--set", "serviceMonitor.enabled=true")["spec"]["endpoints"]
    assert [relabelled(each, "job")["replacement"] for each in writer] == ["sightline-writer"]
    alone = one(EMBEDDED, "ServiceMonitor", "--set", "serviceMonitor.enabled=true")["spec"]["endpoints"]
    assert [each["port"] for each in alone] == ["metrics"]


def trigger(*options: str) -> dict[str, str]:
    [found] = one(EVERYTHING, "ScaledObject", *options)["spec"]["triggers"]
    return dict(found["metadata"])


def test_scaled_object_owns_the_number_of_replicas() -> None:
    spec = one(EVERYTHING, "ScaledObject")["spec"]
    deployment = one(EVERYTHING, "Deployment")
    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "each upgrade would undo what KEDA did"
    assert one(EMBEDDED, "Deployment")["spec"]["replicas"] == 2
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]


def test_trigger_has_the_fields_of_the_prometheus_scaler() -> None:
    fields = trigger()
    # The schema of a ScaledObject takes any field here, so a typo would pass it.
    assert set(fields) == {"serverAddress", "threshold", "ignoreNullValues", "query"}
    assert (fields["threshold"], fields["ignoreNullValues"]) == ("8", "false")


def test_query_asks_for_metrics_that_the_server_has() -> None:
    families = {family.name: family.type for family in Metrics().registry.collect()}
    asked = set(re.findall(r"sightline_\w+(?=\{)", trigger()["query"]))
    suffixes = {"counter": ("_total",), "histogram": ("_sum", "_count"), "gauge": ("",)}
    assert asked <= {name + suffix for name, kind in families.items() for suffix in suffixes.get(kind, ("",))}
    assert len(asked) == 4


SERIES = {
    "in_flight": ('sightline_in_flight{{{own}, instance="a"}}', "6+0x20"),
    "in_flight_b": ('sightline_in_flight{{{own}, instance="b"}}', "4+0x20"),
    # One refused call a second, and two of a kind that more replicas would not admit either.
    "refused": ('sightline_refused_calls_total{{{own}, limit="concurrency"}}', "0+60x20"),
    "slow": ('sightline_refused_calls_total{{{own}, limit="slow_upload"}}', "0+120x20"),
    # Half a second a call.
    "seconds": ('sightline_request_seconds_sum{{{own}, code="OK"}}', "0+60x20"),
    "count": ('sightline_request_seconds_count{{{own}, code="OK"}}', "0+120x20"),
    "other": ('sightline_in_flight{{job="sightline", namespace="other", service="sightline"}}', "99+0x20"),
}
OWN = 'job="sightline", namespace="shop", service="sightline"'


@pytest.mark.parametrize(
    ("names", "demand"),
    [
        (("in_flight", "in_flight_b", "other"), 10),
        (("in_flight", "in_flight_b", "refused", "slow", "seconds", "count"), 10 + 1 * 0.5),
        (("in_flight", "refused"), 6),
        (("other",), None),
    ],
    ids=["in-progress", "refused", "none-answered", "no-series"],
)
def test_query_counts_searches_in_progress_and_those_that_were_refused(
    names: tuple[str, ...], demand: float | None, tmp_path: Path
) -> None:
    rule = {"groups": [{"name": "keda", "rules": [{"record": "demand", "expr": trigger()["query"]}]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule))
    series = [{"series": SERIES[name][0].format(own=OWN), "values": SERIES[name][1]} for name in names]
    samples = [] if demand is None else [{"labels": "demand", "value": demand}]
    tests = [
        {
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{"expr": "demand", "eval_time": "15m", "exp_samples": samples}],
        }
    ]
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_selector_of_the_user_replaces_the_labels_of_the_monitor() -> None:
    query = trigger("--set-string", 'autoscaling.selector=job="lens"')["query"]
    assert query.count('job="lens"') == 4
    assert "namespace" not in query
