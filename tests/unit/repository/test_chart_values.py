"""The schema of the chart's values: a misspelt, removed or contradictory value is refused before rendering."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from scripts.chart.rendering import CHART, ChartError, rendered
from sightline_server.settings import AccessSettings, EngineSettings, ServerSettings, Settings
from tests.support.chart import helm

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
OPEN = {"settings", "resources"}


def groups(schema: dict[str, Any], values: dict[str, Any], name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every group of values that the chart defines: name, schema, defaults."""
    yield name, schema, values
    for key, part in schema["properties"].items():
        if part.get("properties") and key not in OPEN:
            yield from groups(part, values[key], f"{name}.{key}")


@pytest.mark.parametrize(("schema", "defaults"), [(s, d) for _, s, d in groups(SCHEMA, DEFAULTS)])
def test_group_names_each_of_its_values_and_takes_no_other(schema: dict[str, Any], defaults: dict[str, Any]) -> None:
    named = set(schema["properties"]) - {"global"}
    assert named == set(defaults)
    assert schema["additionalProperties"] is False
    # Helm removes a default that is set to null, and `from: null` would admit every caller.
    assert set(schema["required"]) == named


def test_groups_of_settings_are_those_of_the_server() -> None:
    decided = {"home", "catalog", "catalogs"}
    assert set(SCHEMA["properties"]["settings"]["properties"]) == set(Settings.model_fields) - decided


def test_settings_that_the_chart_decides_exist() -> None:
    parts = SCHEMA["properties"]["settings"]["properties"]
    assert set(parts["server"]["propertyNames"]["not"]["enum"]) <= set(ServerSettings.model_fields)
    assert set(parts["access"]["propertyNames"]["not"]["enum"]) <= set(AccessSettings.model_fields)
    assert any(name.startswith("triton_") for name in EngineSettings.model_fields)


REFUSED: list[tuple[str, Any, str]] = [
    ("replica", 3, "replica"),
    ("engine.mode", "milvus", "engine.mode"),
    ("engine.mode", "remote", "engine.remote.url"),
    ("settings.limit.max_objects", 3, "settings"),
    ("settings.server.listen", "127.0.0.1:1", "settings.server"),
    ("settings.server.catalog_listen", "127.0.0.1:1", "settings.server"),
    ("settings.access.keys_file", "/keys", "settings.access"),
    ("settings.audit.folder", "/audit", "settings.audit"),
    ("settings.engine.triton_url", "triton:8001", "settings.engine"),
    ("tls.mutual", True, "tls.mutual"),
    ("access.keys", True, "access.keys"),
    ("catalog.folders.default", "/shop", "catalog.folders.default"),
    ("replication.role", "reader", "replication.role"),
    ("replication.role", "replica", "replication.publications"),
    ("replication.role", "writer", "replicas"),
    ("replication.publications", {"default": "claim"}, "replication.publications"),
    ("replication.publications", {"..": "claim"}, "replication.publications"),
    ("replication.copies", {"size": "20", "storageClass": ""}, "replication.copies.size"),
    ("replication.startSeconds", 5, "replication.startSeconds"),
    ("replication.editors", [{"podSelector": {}}], "replication.editors"),
    ("milvus.uri", "http://milvus:19530", "milvus.uri"),
    ("milvus.uri", "milvus:19530", "milvus.uri"),
    ("milvus.uri", "https://user:password@milvus:19530", "milvus.uri"),
    ("milvus.catalogs", ["shop"], "milvus.uri"),
    ("milvus.catalogs", ["a b"], "milvus.catalogs.0"),
    ("milvus.token", True, "milvus.token"),
    ("milvus.ca", True, "milvus.uri"),
    ("podLabels.accelerator", "gpu", "podLabels"),
    ("image.digest", "latest", "image.digest"),
    ("resources.limit.memory", "1Gi", "resources"),
    ("disruptionBudget.maxUnavailable", 0, "disruptionBudget.maxUnavailable"),
    ("networkPolicy.clients", [], "networkPolicy.clients"),
    ("networkPolicy.clients", [{}], "networkPolicy.clients.0"),
    ("grpcRoute.enabled", True, "grpcRoute.parentRefs"),
]


def fault_paths(name: str, value: Any) -> set[str]:
    """The paths of the values at fault when one of the defaults is replaced."""
    values = field = copy.deepcopy(DEFAULTS)
    *folders, last = name.split(".")
    for part in folders:
        field = field.setdefault(part, {})
    field[last] = value
    errors = list(jsonschema.Draft7Validator(SCHEMA).iter_errors(values))
    parts = [*errors, *(inner for error in errors for inner in error.context)]
    return {".".join(map(str, error.absolute_path)) or name for error in parts}


def test_defaults_are_accepted() -> None:
    assert fault_paths("replicas", 3) == set()


@pytest.mark.parametrize(("name", "value", "at"), REFUSED)
def test_wrong_value_is_refused_with_its_path(name: str, value: Any, at: str) -> None:
    assert at in fault_paths(name, value)


@pytest.mark.parametrize("option", ["networkPolicy.clients=null", "settings.server.listen=127.0.0.1:1"])
def test_helm_applies_the_schema(option: str) -> None:
    with pytest.raises(ChartError, match="schema") as caught:
        rendered(helm(), "--set", option)
    assert option.split(".")[0] in str(caught.value)
