"""The Helm chart for tests, as the helm renders it that `make check` fetches.

Helm is not a Python package, so a fresh machine may lack it: the tests that need it are skipped there, with the reason,
unless SIGHTLINE_REQUIRE_HELM is set, as our own CI does.
"""

import copy
import functools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from scripts.chart.helm import REQUIRED, found
from scripts.chart.rendering import CHART, rendered

EMBEDDED, SIDECAR, REMOTE = "values.yaml", "values-triton-sidecar.yaml", "values-triton-remote.yaml"
IN_MILVUS = "values-milvus.yaml"
WRITER, REPLICAS = "values-writer.yaml", "values-replicas.yaml"
EVERYTHING = "ci/everything.yaml"
ALL = (EMBEDDED, SIDECAR, REMOTE, IN_MILVUS, WRITER, REPLICAS, EVERYTHING)

Object = dict[str, Any]


def helm() -> Path:
    """The path of helm. Skips the test where there is none; fails it where helm is required."""
    path = found()
    if path is not None:
        return path
    missing = "no helm on PATH or in the home's tools: run python -m scripts.chart"
    if os.environ.get(REQUIRED):
        pytest.fail(missing)
    pytest.skip(missing)


@functools.cache
def _objects(values: str, options: tuple[str, ...]) -> list[Object]:
    return rendered(helm(), "--values", str(CHART / values), *options)


def objects(values: str, *options: str) -> list[Object]:
    """The objects of a release with a values file; `options` are those of `helm template`."""
    return copy.deepcopy(_objects(values, options))


def one(values: str, kind: str, *options: str, ends: str = "") -> Object:
    """The only object of a kind whose name ends in `ends`."""
    [item] = [each for each in objects(values, *options) if each["kind"] == kind and named(each).endswith(ends)]
    return item


def named(item: Object) -> str:
    """The name of an object."""
    return str(item["metadata"]["name"])


def pod(values: str, *options: str) -> Object:
    """The pod of the Deployment: its metadata and its spec."""
    return dict(one(values, "Deployment", *options)["spec"]["template"])


def containers(values: str, *options: str) -> dict[str, Object]:
    """Every container of the pod, sidecars included, by its name."""
    spec = pod(values, *options)["spec"]
    return {each["name"]: each for each in spec["containers"] + spec.get("initContainers", [])}


def copied(folder: Path, *, linked: bool = True) -> Path:
    """A copy of the chart in `folder`, without the rules and the dashboard that it links to unless `linked`."""
    shutil.copytree(CHART, folder, dirs_exist_ok=True, ignore=None if linked else shutil.ignore_patterns("files"))
    return folder
