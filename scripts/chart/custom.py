"""Keeps the schema of a custom kind: `python -m scripts.chart.custom DEFINITION.yaml` (a CustomResourceDefinition).

Rule: types and limits only. Descriptions are left out, and so are rules in CEL, which no check here runs.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from scripts.chart.schemas import schema_file

LEFT_OUT = ("description", "x-kubernetes-validations")


def main() -> int:
    """Writes one file for the stored version of each definition that is named."""
    for name in sys.argv[1:]:
        keep(yaml.safe_load(Path(name).read_text()))
    return 0


def keep(definition: dict[str, Any]) -> None:
    """Writes the schema of the version that is stored."""
    spec = definition["spec"]
    [stored] = [each for each in spec["versions"] if each["storage"]]
    path = schema_file(f"{spec['group']}/{stored['name']}", spec["names"]["kind"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(structure(stored["schema"]["openAPIV3Schema"]), indent=1, sort_keys=True) + "\n")


def structure(schema: Any) -> Any:
    """The schema without its texts. A field that is called as one of them is kept."""
    if isinstance(schema, list):
        return [structure(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: structure(each) for field, each in value.items()} if name == "properties" else structure(value)
        for name, value in schema.items()
        if name not in LEFT_OUT
    }


if __name__ == "__main__":
    sys.exit(main())
