"""The faults of an object by the schemas of Kubernetes, and of the kinds that others define.

Rule: an unknown field is a fault. Kubernetes ignores or refuses them, so that a misspelt one never has an effect.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

from scripts.chart.helm import ROOT

VERSIONS = ("1.29", "1.37")
"""The oldest Kubernetes that the chart supports, and the newest one whose schemas are at hand."""
CUSTOM = ROOT / "tests" / "support" / "crds"
"""The schemas of custom kinds, written by `scripts.chart.custom`."""


def faults(item: dict[str, Any]) -> Iterator[str]:
    """One line for each fault of an object."""
    missing = [field for field in ("apiVersion", "kind") if not isinstance(item.get(field), str)]
    if missing:
        yield f"an object has no {' and no '.join(missing)}: {item.get('metadata')}"
        return
    name = f"{item['kind']} {(item.get('metadata') or {}).get('name')}"
    path = schema_file(item["apiVersion"], item["kind"])
    if path.exists():
        yield from (f"{name}: {fault}" for fault in custom_faults(item, path))
        # The field metadata is the same in every kind, and schemas of custom kinds leave it out.
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": item.get("metadata")}
    yield from (f"{name}: {fault}" for version in VERSIONS for fault in builtin_faults(item, version))


def schema_file(api_version: str, kind: str) -> Path:
    """The file in which the schema of a custom kind is kept."""
    group, _, version = api_version.partition("/")
    return CUSTOM / f"{group}-{version}-{kind.lower()}.json"


def builtin_faults(item: dict[str, Any], version: str) -> Iterator[str]:
    """The first fault of an object of Kubernetes itself."""
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"Kubernetes {version}: {place(error)}{error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield error.message


def custom_faults(item: dict[str, Any], path: Path) -> Iterator[str]:
    """Every fault of an object of a custom kind."""
    for error in validator(path).iter_errors(item):
        yield f"{path.name}: {place(error)}{error.message}"


def place(error: jsonschema.ValidationError) -> str:
    """The path of the field at fault, and a colon; empty for the object itself."""
    return "".join(f"{part}." for part in error.path).removesuffix(".") + (": " if error.path else "")


@cache
def validator(path: Path) -> jsonschema.Draft202012Validator:
    """The validator of a custom kind."""
    return jsonschema.Draft202012Validator(closed(json.loads(path.read_text())))


def closed(schema: Any) -> Any:
    """A schema that takes no fields but those that it names, unless it says that any are kept."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: closed(value) for name, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        result["type"] = [schema["type"], "null"]
    return result
