"""The chart as `helm` renders it. No cluster is asked: `helm template` and `helm lint` work on files alone."""

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from scripts.chart.helm import ROOT, pinned

CHART = ROOT / "deploy" / "helm" / "sightline"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ChartError(Exception):
    """Raised where helm refuses the chart or the values; its message is helm's."""


def values_files() -> list[Path]:
    """The defaults, the values files that the chart ships, and those of the checks."""
    return [CHART / "values.yaml", *sorted(CHART.glob("values-*.yaml")), *sorted((CHART / "ci").glob("*.yaml"))]


def lint(helm: Path, values: Path) -> None:
    """Lets helm lint the chart with the values. Raises `ChartError`."""
    run([str(helm), "lint", "--strict", "--quiet", str(CHART), "--values", str(values)])


def rendered(helm: Path, *options: str, chart: Path = CHART, release: str = "sightline") -> list[dict[str, Any]]:
    """The objects of a release. `options` are those of `helm template`. Raises `ChartError`."""
    text = run([str(helm), "template", release, str(chart), "--namespace", "shop", *options])
    return [each for each in yaml.load_all(text, Loader=LOADER) if each]


def run(command: list[str]) -> str:
    """Runs helm and returns its output. Raises `ChartError` with its message."""
    # Helm would read the user's own settings and plugins.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    environment |= {f"HELM_{name}_HOME": str(pinned().with_name("home")) for name in ("CONFIG", "CACHE", "DATA")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "symbolic link" not in line]
        raise ChartError("\n".join(lines).strip())
    return done.stdout
