"""ONNX Runtime is never loaded before its telemetry is switched off, wherever in the repository it is imported."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline_server.embedded.command import environment
from sightline_server.embedded.installation import Installation
from tests.support.engine import CHECKOUT

LIBRARY = "onnx" + "runtime"
SWITCH = "ORT_DISABLE_TELEMETRY"
SKIPPED = {"node_modules", "demo-out", "bench-out", "gpu-pack"}
PYTHON_TEXT = re.compile(
    rf"(?:^|[;\"'`]|\b(?:try|else|finally):)\s*(?:>>> )?(?:import|from)\s+{LIBRARY}\b", re.MULTILINE
)
"""An import statement in a text that is not Python, or in a string that becomes a program."""
CALLS = {"import_module", "__import__", "importorskip", "find_loader"}
MODULES = {
    "models": "server/sightline_models/onnx_runtime.py",
    "backend": "server/sightline_server/embedded/backend/onnx_runtime.py",
    "gpu timer": "load_tests/gpu/time_model.py",
}

LOCATED = (ast.stmt, ast.expr)
"""The nodes that have a line."""


def files(*endings: str) -> Iterator[Path]:
    """The files of the checkout with these endings or names; hidden folders are searched for ours only."""
    for folder, folders, names in os.walk(CHECKOUT):
        folders[:] = [each for each in folders if each not in SKIPPED and (each == ".ci" or not each.startswith("."))]
        yield from (Path(folder, name) for name in names if name.endswith(endings))


def unguarded(source: str) -> list[int]:
    """Lines that load ONNX Runtime before the module has switched its telemetry off."""
    tree = ast.parse(source)
    switched = min((node.lineno for node in tree.body if switches_off(node)), default=len(source))
    loading = {node.lineno for node in ast.walk(tree) if isinstance(node, LOCATED) and loads(node)}
    return sorted(line for line in loading if line < switched)


def switches_off(node: ast.stmt) -> bool:
    """Returns whether a statement of a module's top level is `os.environ[SWITCH] = "1"`; a default is not enough."""
    return isinstance(node, ast.Assign) and ast.unparse(node) == f"os.environ[{SWITCH!r}] = '1'"


def loads(node: ast.AST) -> bool:
    """Returns whether a node imports ONNX Runtime, by statement, by call, or in a string that is run elsewhere."""
    match node:
        case ast.Import(names):
            return any(is_library(each.name) for each in names)
        case ast.ImportFrom(module=str(module), level=0):
            return is_library(module)
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name), [ast.Constant(str(module)), *_]):
            return name in CALLS and is_library(module)
        case ast.Constant(str(text)):
            return loads_in_text(text)
    return False


def is_library(module: str) -> bool:
    return module.partition(".")[0] == LIBRARY


def loads_in_text(text: str) -> bool:
    """Returns whether a text holds an import of ONNX Runtime that the switch does not precede."""
    found = PYTHON_TEXT.search(text)
    return found is not None and SWITCH not in text[: found.start()]


def test_every_import_comes_after_the_switch() -> None:
    texts = {path: path.read_text() for path in files(".py")}
    assert len(texts) > 200
    # Only files with the library's name are parsed: parsing takes seconds, and no import goes without the name.
    found = {str(path.relative_to(CHECKOUT)): unguarded(text) for path, text in texts.items() if LIBRARY in text}
    assert {MODULES["models"], MODULES["backend"]} <= found.keys()
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_no_script_or_document_shows_an_import_without_the_switch() -> None:
    texts = {
        path: path.read_text() for path in files(".sh", ".md", ".toml", ".yaml", ".yml", ".cfg", "Makefile", "run")
    }
    assert CHECKOUT / ".ci" / "run" in texts
    assert [str(path) for path, text in texts.items() if loads_in_text(text)] == []


@pytest.mark.parametrize(
    "source",
    [
        f"import {LIBRARY}",
        f"import numpy, {LIBRARY}.capi as capi",
        f"def load():\n    from {LIBRARY} import InferenceSession",
        f"import importlib\nimportlib.import_module('{LIBRARY}')",
        f"__import__('{LIBRARY}')",
        f"run(['python', '-c', 'import {LIBRARY}; print(1)'])",
        f"script = '''\nimport os\nimport {LIBRARY}\n'''",
        f"import os\nimport {LIBRARY}\nos.environ['{SWITCH}'] = '1'",
        f"import os\nos.environ.setdefault('{SWITCH}', '1')\nimport {LIBRARY}",
        f"import os\nos.environ['{SWITCH}'] = '0'\nimport {LIBRARY}",
        f"import os\nif False:\n    os.environ['{SWITCH}'] = '1'\nimport {LIBRARY}",
    ],
)
def test_an_import_without_the_switch_before_it_is_found(source: str) -> None:
    assert unguarded(source)


@pytest.mark.parametrize(
    "source",
    [
        f"import os\nos.environ['{SWITCH}'] = '1'\nimport {LIBRARY}",
        f"from sightline_models.onnx_runtime import {LIBRARY}",
        f"'''The library {LIBRARY}, from its package.'''\nversion('{LIBRARY}')",
        f'run(\'import os; os.environ["{SWITCH}"] = "1"; import {LIBRARY}\')',
    ],
)
def test_an_import_after_the_switch_is_let_pass(source: str) -> None:
    assert unguarded(source) == []


def load(code: str, home: Path) -> list[str]:
    """Runs `code` with `home` as everything that could keep a file; returns the files that are there after."""
    home.mkdir()
    # Nothing else is inherited: ONNX Runtime is quiet where CI's variables are set. The proxy leads nowhere.
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(home))
    env = {**places, SWITCH: "0", "https_proxy": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60, cwd=home)
    return [path.name for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_loading_by_our_modules_keeps_no_device_id(module: str, tmp_path: Path) -> None:
    """Also where the environment says that telemetry is wanted."""
    assert load(f"import runpy; runpy.run_path({str(CHECKOUT / module)!r})", tmp_path / "home") == []


def test_loading_without_the_switch_keeps_a_device_id(tmp_path: Path) -> None:
    """The libraries that the tests above would see. When this fails, ONNX Runtime has changed: read
    docs/operate/privacy.md again."""
    assert "deviceid" in load(f"import {LIBRARY}", tmp_path / "home")


def test_engine_environment_switches_telemetry_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    for gpu in (False, True):
        told = environment(Installation(tmp_path, "3.11", "/lib"), gpu=gpu)
        assert (told[SWITCH], told["__DCGM_DBG_LVL"]) == ("1", "NONE")
