"""docs/operate/privacy.md says of each direct dependency whether it calls anybody.

The manifests set what the page asks for.
"""

import re
import tomllib
from collections.abc import Iterator
from itertools import chain

import pytest

from load_tests.peers.peers import PEERS
from sightline_server.embedded.installation import CPU, CUDA, NVIDIA, requirements
from tests.support.chart import SIDECAR, containers
from tests.support.engine import CHECKOUT

PAGE = (CHECKOUT / "docs" / "operate" / "privacy.md").read_text()
HAND_INSTALLED = ("locust", "cupy", "matplotlib")
"""The modules that scripts of the load tests import without a list of requirements."""


def direct_dependencies() -> Iterator[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    for requirement in chain(*lists, *project["dependency-groups"].values()):
        if isinstance(requirement, dict):  # another group, which is in the table itself
            continue
        yield re.split(r"[^A-Za-z0-9._-]", requirement)[0]
    for build in (CPU, CUDA):
        found = re.findall(r"(?m)^([a-z0-9._-]+)==", requirements(build))
        yield from (name for name in found if not NVIDIA.match(name))
    yield from (peer.package for peer in PEERS)
    yield from HAND_INSTALLED


@pytest.mark.parametrize("name", sorted(set(direct_dependencies()) - {"sightline"}))
def test_each_direct_dependency_is_on_the_page(name: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", PAGE), f"read {name} for telemetry, then add it"


def test_triton_container_of_the_chart_has_the_switch() -> None:
    assert {"name": "ORT_DISABLE_TELEMETRY", "value": "1"} in containers(SIDECAR)["triton"]["env"]


def test_every_file_that_names_the_triton_image_names_the_switch() -> None:
    found = [path for path in CHECKOUT.glob("deploy/**/*") if path.is_file() and "tritonserver:" in path.read_text()]
    assert found
    assert [path.name for path in found if "ORT_DISABLE_TELEMETRY" not in path.read_text()] == []
