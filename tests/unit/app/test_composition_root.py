"""The source of the server is read here: one module joins the parts of a serving process, and all roots use it."""

import ast
from functools import cache
from pathlib import Path

import pytest

import sightline_server
from tests.support import lens

SERVER = Path(sightline_server.__file__).parent
LENS = Path(lens.__file__)
TESTS = LENS.parents[1]
FILES = (
    *("background", "batchers", "catalog_changes", "catalog_door", "catalogs", "door", "parts"),
    *("photo_threads", "pipeline", "printed_text_models", "watching", "writing", "written"),
)
BUILDERS = tuple(SERVER / "app" / f"{name}.py" for name in FILES)
"""The files of `app/` that construct parts."""
PARENT = SERVER / "workers/serving.py"
LONE, WORKER = SERVER / "app/serving.py", SERVER / "workers/worker.py"
ROOTS = (LONE, WORKER, LENS)
"""The files that start a process which serves calls."""
OWN = {
    LONE: {
        *("Metrics", "EngineMetrics", "RegistryShelf", "CatalogReloader", "Reloading", "Running", "WrittenCatalogs"),
        "FollowedCatalogs",
    },
    WORKER: {"Metrics", "FollowedCatalogs"},
}
"""The classes of the server that each root constructs itself. A part that both need belongs in a builder."""
STEPS = {"build_front", "build_core", "admit_calls"}
VALUES = {"SightlineError"}
"""Classes that builders construct and that are not parts."""
JOINED = {"Door", "Pipeline", "LensService", "build_pipeline"}
"""Only the builders construct these; a test of a single part constructs others."""


def imported_classes(tree: ast.AST) -> set[str]:
    """The classes that a module imports from the server."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if (node.module or "").startswith("sightline_server.")]
    return {each.name for node in ours for each in node.names if each.name[0].isupper()}


def calls(tree: ast.AST) -> set[str]:
    """The names that a module calls: the last part of each, and the original of one that it imports by another name."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    originals = {each.asname: each.name for node in nodes for each in node.names if each.asname}
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [function.id for function in functions if isinstance(function, ast.Name)]
    attributes = [function.attr for function in functions if isinstance(function, ast.Attribute)]
    return {originals.get(name, name) for name in [*names, *attributes]}


def tree_of(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


@cache
def parts() -> set[str]:
    """The classes of the server that the builders construct."""
    return set[str]().union(*(imported_classes(tree) & calls(tree) for tree in map(tree_of, BUILDERS))) - VALUES


def others() -> list[Path]:
    """The modules that start processes and commands, without the builders; and the server of the tests."""
    rooms = [SERVER / room for room in ("app", "workers", "cli", "control")]
    return [path for room in rooms for path in sorted(room.rglob("*.py")) if path not in BUILDERS] + [LENS]


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def test_the_builders_construct_parts_of_every_room() -> None:
    assert parts() > {"Door", "LensService", "Pipeline", "MicroBatcher", "PhotoThreads", "Registry", "DeviceThread"}


@pytest.mark.parametrize("path", others(), ids=name_of)
def test_a_part_built_outside_the_builders_is_reported(path: Path) -> None:
    # The parent of workers serves no calls; it counts the reloads of the catalogs that it lays out.
    allowed = {"CatalogMetrics"} if path == PARENT else set()
    assert calls(tree_of(path)) & parts() == allowed


@pytest.mark.parametrize("path", ROOTS, ids=name_of)
def test_every_root_takes_the_same_steps(path: Path) -> None:
    assert calls(tree_of(path)) >= STEPS


@pytest.mark.parametrize("path", OWN, ids=name_of)
def test_a_root_constructs_only_what_differs_between_roots(path: Path) -> None:
    tree = tree_of(path)
    assert imported_classes(tree) & calls(tree) - VALUES == OWN[path]


def test_no_test_and_no_load_test_joins_parts() -> None:
    files = [*TESTS.rglob("*.py"), *(TESTS.parent / "load_tests").rglob("*.py")]
    joined = {name_of(path): calls(tree_of(path)) & JOINED for path in files}
    assert {name: found for name, found in joined.items() if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from sightline_server.pipeline import Pipeline\nPipeline()",
        "from sightline_server.pipeline import Pipeline as Search\nSearch()",
        "from sightline_server import pipeline\npipeline.Pipeline()",
    ],
)
def test_a_construction_is_found_in_every_spelling(source: str) -> None:
    assert calls(ast.parse(source)) == {"Pipeline"}


def test_an_annotation_is_not_a_construction() -> None:
    assert calls(ast.parse("from sightline_server.pipeline import Pipeline\npipeline: Pipeline")) == set()
