"""This checkout against another one, in turn on the same machine and photos.

    git worktree add /tmp/before COMMIT
    python -m load_tests.against /tmp/before --catalog DIR

Both servers run the whole time and are loaded one after the other, in alternating order: one caller on photos of
several objects, then several callers. Prints each turn on standard error, and for each figure the medians, the median
of the turns' ratios and their range as one JSON object on the last line.
Rule: only ratios within a turn are compared; a machine that others use too changes between turns.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from load_tests.generator.photos import ROOT, read_photos
from load_tests.generator.process import Generator
from load_tests.turns.figures import Figures, compared
from load_tests.turns.sides import DEADLINE_S, Lengths, Side, Turn, add_options, alternate, with_objects
from sightline_client.local_server import LocalServer

PATHS = ("server", "clients/python", "protos/python")


def environment(checkout: Path, other_home: Path | None = None) -> Mapping[str, str]:
    """The environment in which `python -m sightline_server` is that of `checkout`, with the models of this one.

    `other_home` is a home with the engine of that checkout, where it is not the engine of this one.
    """
    home = str(other_home.resolve()) if other_home else os.environ.get("SIGHTLINE_HOME", str(ROOT / ".sightline"))
    path = ":".join(str(checkout.resolve() / folder) for folder in PATHS)
    return {"PYTHONPATH": path, "SIGHTLINE_HOME": home, "SIGHTLINE_ENGINE__REPOSITORY": str(ROOT / "model_repository")}


def settings_of(given: Iterable[str]) -> Mapping[str, str]:
    """The environment of settings that are given as NAME=VALUE. Raises `ValueError` for another form."""
    pairs = [setting.partition("=") for setting in given]
    if wrong := [name for name, equals, _ in pairs if not name or not equals]:
        raise ValueError(f"a setting has the form NAME=VALUE, which {wrong[0]!r} has not")
    return {name: value for name, _, value in pairs}


def figures_of(turn: Turn) -> Figures:
    """The figures of a turn."""
    return Figures.of(turn.alone, turn.alone_cpu.whole_s, turn.loaded, turn.loaded_cpu.whole_s, turn.mean_embed_batch)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument(
        "--before-home", type=Path, help="SIGHTLINE_HOME with the engine of the other checkout, if it differs"
    )
    parser.add_argument(
        "--before-catalog", type=Path, help="catalog of the other side, where its embedder differs (default: --catalog)"
    )
    add_options(parser, alone_s=6.0, loaded_s=12.0)
    parser.add_argument("--objects", type=int, default=3, help="the fewest objects of a photo")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of the environment of this checkout only, such as SIGHTLINE_CODES__ENABLED=false to leave out "
        "what the other one cannot do; may be given several times",
    )
    options = parser.parse_args()
    try:
        settings = settings_of(options.settings)
    except ValueError as error:
        parser.error(str(error))
    requests = read_photos(options.photos).requests
    turns: list[tuple[Figures, Figures]] = []
    with ExitStack() as stack:
        environments = {
            "before": environment(options.before, options.before_home),
            "after": {**environment(ROOT), **settings},
        }
        catalogs = {"before": options.before_catalog or options.catalog, "after": options.catalog}
        servers = {
            name: stack.enter_context(LocalServer(catalog=catalogs[name], env=each))
            for name, each in environments.items()
        }
        wanted = with_objects(servers["before"].target, requests, options.objects)
        sides = {
            name: Side(server, stack.enter_context(Generator(server.target, wanted, deadline_s=DEADLINE_S)))
            for name, server in servers.items()
        }
        for before, after in alternate(sides["before"], sides["after"], Lengths.of(options), options.turns):
            figures = figures_of(before), figures_of(after)
            turns.append(figures)
            print(json.dumps([asdict(each) for each in figures]), file=sys.stderr, flush=True)
    print(json.dumps({"photos": len(wanted), "turns": options.turns, **compared(turns)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
