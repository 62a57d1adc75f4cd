"""Lints the chart, renders it with each values file, and checks every object against its schema; exits 1 on a fault.

Where no helm can be had, nothing is checked and that is said; with SIGHTLINE_REQUIRE_HELM it is a fault.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.chart.helm import REQUIRED, MissingHelmError, ready
from scripts.chart.rendering import CHART, ChartError, lint, rendered, values_files
from scripts.chart.schemas import VERSIONS, faults


def main() -> int:
    """Checks the chart. Returns the exit code."""
    try:
        helm = ready()
    except MissingHelmError as error:
        sys.stderr.write(f"the Helm chart is not checked: {error}\n")
        return 1 if os.environ.get(REQUIRED) else 0
    found = list(chart_faults(helm))
    sys.stderr.writelines(f"{fault}\n" for fault in found)
    if not found:
        sys.stdout.write(f"the Helm chart fits Kubernetes {' to '.join(VERSIONS)}, with each of its values files\n")
    return 1 if found else 0


def chart_faults(helm: Path) -> Iterator[str]:
    """One line for each fault. An object that several values files give alike is checked once."""
    checked: set[str] = set()
    for values in values_files():
        try:
            lint(helm, values)
            items = rendered(helm, "--values", str(values))
        except ChartError as error:
            yield f"{values.relative_to(CHART)}: {error}"
            continue
        fresh: dict[str, dict[str, Any]] = {json.dumps(item, sort_keys=True): item for item in items}
        for item in (fresh[text] for text in fresh.keys() - checked):
            yield from (f"{values.relative_to(CHART)}: {fault}" for fault in faults(item))
        checked |= fresh.keys()


if __name__ == "__main__":
    sys.exit(main())
