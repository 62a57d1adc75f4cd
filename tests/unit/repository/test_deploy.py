"""The image's command and the unit's settings in `deploy/`: `serve` accepts them and opens only requested ports.

The Helm chart has its own tests, `test_chart*.py`.
"""

import json
import re

import pytest
from typer.testing import CliRunner

from sightline_server.cli.loading import load
from sightline_server.cli.serve import app as serve_command
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.listener.exposure import check_listener, check_metrics_listener
from sightline_server.settings import Settings
from tests.support.engine import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
ALLOWANCES = {"--insecure": check_listener, "--metrics-insecure": check_metrics_listener}


def image_command() -> list[str]:
    """The arguments of the image's command."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", "")
    [command] = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    return list(json.loads(command))


def settings_of(arguments: list[str]) -> Settings:
    """The settings that `sightline serve` makes of the arguments."""
    assert arguments[0] == "serve"
    ended = CliRunner().invoke(serve_command, [*arguments[1:], "--print-config"])
    assert ended.exit_code == 0, ended.output
    return Settings(**json.loads(ended.stdout))


def test_command_of_the_image_is_accepted_by_serve() -> None:
    settings = settings_of(image_command())
    check_listener(settings.server)
    check_metrics_listener(settings.server)


@pytest.mark.parametrize("flag", ALLOWANCES)
def test_command_is_refused_without_each_of_its_allowances(flag: str) -> None:
    arguments = image_command()
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
