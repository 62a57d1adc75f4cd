"""The README's commands in a checkout: catalog build, serve and search in an environment without any SIGHTLINE_*."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_client.local_server import LocalServer
from tests.support.engine import CHECKOUT, sightline_home
from tests.support.world import write_feed

CLEAN = [shutil.which("env") or "/usr/bin/env", "-i", f"PATH={os.environ['PATH']}"]
SIGHTLINE = str(Path(sys.executable).with_name("sightline"))


def run(*arguments: str, cwd: Path) -> str:
    """The standard output of `sightline` in an environment of PATH alone."""
    command = [*CLEAN, SIGHTLINE, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=cwd)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.engine
@pytest.mark.timeout(240)
def test_checkout_builds_serves_and_searches_without_variables(tmp_path: Path) -> None:
    if sightline_home() != CHECKOUT / ".sightline":
        pytest.skip("the tests use another home than the checkout's")
    images = write_feed(tmp_path)
    run("catalog", "build", "feed.csv", "--out", "my-catalog", cwd=tmp_path)
    with LocalServer(catalog=tmp_path / "my-catalog", prefix=CLEAN) as server:
        found = run("search", str(images / "drawn-03.png"), "--target", server.target, "--json", cwd=tmp_path)
    results = [event["results"] for line in found.splitlines() if "results" in (event := json.loads(line))]
    assert results[0]["products"][0]["product"]["id"] == "drawn-03"
