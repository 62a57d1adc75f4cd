"""Each variable that turns a skipped test into a failure is set by `.ci/run`, or by a target that it makes."""

import re

from tests.support.engine import CHECKOUT

VARIABLE = re.compile(r"SIGHTLINE_REQUIRE_[A-Z]+")
RECIPE = re.compile(r"(?m)^([a-z-]+):.*\n((?:\t.*\n)+)")


def variables_of_tests() -> set[str]:
    files = [path for folder in ("tests", "scripts") for path in (CHECKOUT / folder).rglob("*.py")]
    return {name for path in files for name in VARIABLE.findall(path.read_text())}


def variables_of_ci() -> set[str]:
    lines = [line for line in (CHECKOUT / ".ci" / "run").read_text().splitlines() if not line.lstrip().startswith("#")]
    recipes = dict(RECIPE.findall((CHECKOUT / "Makefile").read_text()))
    made = [recipes.get(word, "") for line in lines if line.split()[:1] == ["make"] for word in line.split()]
    return set(VARIABLE.findall("\n".join([*lines, *made])))


def test_ci_requires_everything_that_tests_can_skip() -> None:
    assert variables_of_tests() - variables_of_ci() == set()


def test_no_variable_of_ci_is_unknown_to_the_tests() -> None:
    assert variables_of_ci() - variables_of_tests() == set()
