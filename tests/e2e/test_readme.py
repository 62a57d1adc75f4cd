"""The README is what a newcomer runs: its commands exist, its client example works against the real server."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import RunningServer, World

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
SIGHTLINE = [bare for command in COMMANDS if (bare := command.removeprefix(".venv/bin/")).startswith("sightline ")]
LINKS = re.findall(r"\]\((?!http)([^)#]+)", README)


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.engine
@pytest.mark.timeout(240)
def test_the_client_example_prints_objects_and_products(server: RunningServer, world: World, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "127.0.0.1:50051" in example
    (tmp_path / "photo.jpg").write_bytes(world.picture(0))
    (tmp_path / "example.py").write_text(example.replace("127.0.0.1:50051", server.target))
    ran = run(sys.executable, "example.py", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert re.fullmatch(r"\d+ objects", lines[0])
    assert any(re.match(r"o1 1 .+ \d\.\d\d (same_item|similar|weak)$", line) for line in lines[1:])


@pytest.mark.parametrize("command", SIGHTLINE)
def test_each_command_exists_with_the_options_that_are_shown(command: str) -> None:
    words = shlex.split(command)
    options = [word for word in words if word.startswith("--")]
    names = words[1:3] if words[1] in ("catalog", "engine", "models") else words[1:2]
    ran = run(sys.executable, "-c", "from sightline_client.cli import main; main()", *names, "--help")
    assert ran.returncode == 0, ran.stderr
    for option in options:
        assert option in ran.stdout


def test_there_are_commands_to_check() -> None:
    assert len(SIGHTLINE) >= 3


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    mentioned = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "test"} <= mentioned <= targets


@pytest.mark.parametrize("link", LINKS)
def test_each_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
