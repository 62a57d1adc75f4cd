"""The commands in `deploy/`: `serve` accepts each of them, opens only requested ports, and the files fit together.

Kubernetes' schemas are large, so the manifests are checked against them by hand (deploy/README.md).
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from typer.testing import CliRunner

from sightline_server.cli.loading import load
from sightline_server.cli.serve import app as serve_command
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.listener.exposure import check_listener, check_metrics_listener
from sightline_server.settings import Settings
from sightline_server.triton.link import link_of
from tests.support.engine import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
ALONE, BESIDE_TRITON = "sightline.yaml", "sightline-triton.yaml"
ALLOWANCES = {"--insecure": check_listener, "--metrics-insecure": check_metrics_listener}


def objects(name: str) -> list[dict[str, Any]]:
    """The Kubernetes objects of a file."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()))


def pod(name: str) -> dict[str, Any]:
    """The pod of the file's Deployment: its metadata and its spec."""
    [found] = [each["spec"]["template"] for each in objects(name) if each["kind"] == "Deployment"]
    return dict(found)


def container(name: str, what: str = "sightline") -> dict[str, Any]:
    """A container of the pod."""
    spec = pod(name)["spec"]
    [found] = [each for each in spec["containers"] + spec.get("initContainers", []) if each["name"] == what]
    return dict(found)


def image_command() -> list[str]:
    """The arguments of the image's command."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", "")
    [command] = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    return list(json.loads(command))


COMMANDS: dict[str, Callable[[], list[str]]] = {
    "Containerfile": image_command,
    ALONE: lambda: container(ALONE)["args"],
    BESIDE_TRITON: lambda: container(BESIDE_TRITON)["args"],
}


def settings_of(arguments: list[str]) -> Settings:
    """The settings that `sightline serve` makes of the arguments."""
    assert arguments[0] == "serve"
    ended = CliRunner().invoke(serve_command, [*arguments[1:], "--print-config"])
    assert ended.exit_code == 0, ended.output
    return Settings(**json.loads(ended.stdout))


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_taken_by_serve(name: str) -> None:
    settings = settings_of(COMMANDS[name]())
    check_listener(settings.server)
    check_metrics_listener(settings.server)
    if link := link_of(settings.engine):
        link.check()


@pytest.mark.parametrize("flag", ALLOWANCES)
@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_refused_without_each_of_its_allowances(name: str, flag: str) -> None:
    arguments = COMMANDS[name]()
    assert arguments.count(flag) == 1
    settings = settings_of([each for each in arguments if each != flag])
    with pytest.raises(SightlineError) as caught:
        ALLOWANCES[flag](settings.server)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert flag in caught.value.message


def test_settings_of_the_unit_are_taken() -> None:
    settings = load(DEPLOY / "systemd" / "sightline.toml")
    check_listener(settings.server)
    check_metrics_listener(settings.server)
    assert (settings.server.insecure, settings.server.metrics_insecure) == (False, False)


@pytest.mark.parametrize("name", [ALONE, BESIDE_TRITON])
def test_ports_of_the_container_are_those_that_are_listened_on(name: str) -> None:
    settings = settings_of(container(name)["args"]).server
    ports = {each["name"]: each["containerPort"] for each in container(name)["ports"]}
    assert ports == {"grpc": getattr(settings.listen, "port", None), "metrics": settings.metrics_listen.port}


def test_triton_is_reached_on_a_socket_that_only_the_two_containers_share() -> None:
    triton, server = container(BESIDE_TRITON, "triton"), container(BESIDE_TRITON)
    options = dict(each.removeprefix("--").split("=", 1) for each in triton["args"] if "=" in each)
    url = settings_of(server["args"]).engine.triton_url
    assert str(url) == f"{options['grpc-address']}:{options['grpc-port']}"
    folder = str(Path(options["grpc-address"].removeprefix("unix:")).parent)
    for each in (triton, server):
        [volume] = [mount["name"] for mount in each["volumeMounts"] if mount["mountPath"] == folder]
    [source] = [each for each in pod(BESIDE_TRITON)["spec"]["volumes"] if each["name"] == volume]
    assert source["emptyDir"]["medium"] == "Memory"
    others = [each for each in pod(BESIDE_TRITON)["spec"]["containers"] if each["name"] != "sightline"]
    assert others == []
    assert options["allow-http"] == "false"
    assert [each["containerPort"] for each in triton["ports"]] == [int(options["metrics-port"])]
    assert "runAsUser" not in {**triton["securityContext"], **server["securityContext"]}, "one user for both"


@pytest.mark.parametrize("name", [ALONE, BESIDE_TRITON])
def test_every_container_has_no_more_rights_than_it_needs(name: str) -> None:
    spec = pod(name)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in spec["containers"] + spec.get("initContainers", []):
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container(name)["securityContext"]["readOnlyRootFilesystem"] is True


def test_network_policy_admits_named_callers_to_the_ports_and_lets_nothing_out() -> None:
    [policy] = [each["spec"] for each in objects(ALONE) if each["kind"] == "NetworkPolicy"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    admitted = {}
    for rule in policy["ingress"]:
        assert rule["from"], "a rule without callers admits everyone"
        assert all(peer.get("podSelector", {}).get("matchLabels") for peer in rule["from"])
        admitted.update({port["port"]: rule["from"] for port in rule["ports"] if port["protocol"] == "TCP"})
    [metrics] = [each["containerPort"] for each in container(BESIDE_TRITON, "triton")["ports"]]
    assert set(admitted) == {"grpc", "metrics", metrics}
    assert admitted["grpc"] != admitted["metrics"] == admitted[metrics]
    for name in (ALONE, BESIDE_TRITON):
        labels = pod(name)["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
