"""Hit rates and times of several recipes on one set of photos, each through its own real server.

    python -m load_tests.recipes --grocery DIR [--only NAME ...] [--showroom] [--set NAME=VALUE ...] [--work DIR]

A recipe is a choice of models and settings (`RECIPES`). DIR has feed.csv and queries.csv with one object a photo, and
is searched as whole photos. With --showroom the showroom is searched in its three views as well, once for each choice
of models. Prints the table of docs/record/quality.md, then one JSON object. The models come from the index that pip is
set up for, unless SIGHTLINE_HOME/downloads has them.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load_tests.against import settings_of
from load_tests.generator.photos import ROOT
from load_tests.hit_rates.tables import TABLE, commit, row, together
from load_tests.quality import GATED, grocery, showroom, sightline

HEAD = TABLE.replace("queries", "recipe", 1)
MIDDLE = {"SIGHTLINE_DETECTION__WHOLE_PHOTO_SHARE": "0.8"}
COLOURS = {"SIGHTLINE_LOCAL_FEATURES__COLOUR_CONTRIBUTION": "0.1"}
PEOPLE_SEEN = {"SIGHTLINE_DETECTION__REDACT_PEOPLE": "false"}
PAIR = ("pair-lite2-lcnetv2-260",)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A choice of models (`sightline models use`), settings as variables of the environment, and of local features."""

    name: str
    models: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    local_features: bool = False


RECIPES = (
    Recipe("default"),
    Recipe("default, middle 80 %", settings=MIDDLE),
    Recipe("default, middle 80 %, local features", settings=MIDDLE, local_features=True),
    Recipe("pair", PAIR),
    Recipe("pair, middle 80 %", PAIR, MIDDLE),
    Recipe("pair, middle 80 %, local features", PAIR, MIDDLE, local_features=True),
    Recipe("pair, middle 80 %, local features, colours 0.1", PAIR, {**MIDDLE, **COLOURS}, local_features=True),
    Recipe("pair, middle 80 %, people not greyed out", PAIR, {**MIDDLE, **PEOPLE_SEEN}),
    Recipe("pair, middle 80 %, local features, people not greyed out", PAIR, {**MIDDLE, **PEOPLE_SEEN}, True),
    Recipe("quality", ("quality",)),
    Recipe("small", ("small",)),
)


def repository_of(models: Sequence[str], work: Path) -> Path:
    """A copy of this checkout's model repository in `work`, with these models in place of the defaults."""
    repository = work / "-".join(["models", *models])
    if not repository.exists():
        shutil.copytree(ROOT / "model_repository", repository)
        if models:
            sightline("models", "use", *models, "--repository", str(repository))
    return repository


def environment(recipe: Recipe, work: Path, settings: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of the build and the server of a recipe."""
    repository = str(repository_of(recipe.models, work))
    return {"SIGHTLINE_ENGINE__REPOSITORY": repository, **settings, **recipe.settings}


def chosen(names: Sequence[str] | None) -> Sequence[Recipe]:
    """The recipes of these names; all without any. Raises `ValueError` for a name that there is not."""
    known = {recipe.name: recipe for recipe in RECIPES}
    if unknown := [name for name in names or () if name not in known]:
        raise ValueError(f"there is no recipe {unknown[0]!r}; possible are {', '.join(map(repr, known))}")
    return [known[name] for name in names] if names else RECIPES


def measured_on(photos: Path, recipe: Recipe, work: Path, env: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The report of a recipe on all photos, with those of each kind, and its lines of the table."""
    place = Path(tempfile.mkdtemp(dir=work))
    reports, lines, _ = grocery(photos, place, local_features=recipe.local_features, what=recipe.name, env=env)
    return {"all": together(reports), "kinds": reports}, lines


def in_showroom(recipe: Recipe, work: Path, env: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The figures of a recipe in the showroom, and its lines of the table."""
    measured, (boxes, path), _, models = showroom(Path(tempfile.mkdtemp(dir=work)), env)
    lines = row(f"showroom, truth's boxes, {recipe.name}", boxes) + row(f"showroom, whole path, {recipe.name}", path)
    return {**{name: measured[name] for name in GATED}, **models}, lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.recipes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grocery", type=Path, required=True, help="folder with feed.csv, queries.csv and images")
    parser.add_argument("--only", action="append", metavar="NAME", help="a recipe; may be given several times")
    parser.add_argument("--showroom", action="store_true", help="search the showroom as well")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="a variable for all servers"
    )
    parser.add_argument("--work", type=Path, help="folder for models and catalogs (default: a temporary one)")
    given = parser.parse_args(arguments)
    try:
        recipes, settings = chosen(given.only), settings_of(given.settings)
    except ValueError as error:
        parser.error(str(error))
    table, found, seen = HEAD, dict[str, Any](), set[tuple[str, ...]]()
    with ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for recipe in recipes:
            env = environment(recipe, work, settings)
            figures, lines = measured_on(given.grocery, recipe, work, env)
            if given.showroom and recipe.models not in seen:
                seen.add(recipe.models)
                figures["showroom"], further = in_showroom(recipe, work, env)
                lines += further
            found[recipe.name], table = figures, table + lines
            print(lines, file=sys.stderr, flush=True)
    print(table)
    print(json.dumps({"commit": commit(), "recipes": found}))
    return 1 if any(each["failed"] for recipe in found.values() for each in recipe["kinds"]) else 0


if __name__ == "__main__":
    raise SystemExit(main())
