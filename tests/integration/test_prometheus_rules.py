"""promtool reads the configuration and the rules, and plays their own tests."""

import subprocess
from pathlib import Path

from tests.support.prometheus import program

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"


def promtool(*arguments: str) -> None:
    """Runs promtool; fails with its output."""
    ran = subprocess.run([str(program("promtool")), *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_configuration_and_its_rules_are_valid() -> None:
    promtool("check", "config", str(DEPLOY / "prometheus.yml"))


def test_the_rules_pass_their_own_tests() -> None:
    tests = sorted(str(path) for path in (DEPLOY / "tests").glob("*.yml"))
    assert len(tests) == 3
    promtool("test", "rules", *tests)
