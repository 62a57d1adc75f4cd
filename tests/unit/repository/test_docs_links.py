"""Every link between the pages leads to a file and a heading, and every page is in the index `docs/README.md`."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.engine import CHECKOUT

DOCS = CHECKOUT / "docs"
FOLDERS = (
    "clients",
    "deploy",
    "docs",
    "examples",
    "load_tests",
    "model_repository",
    "protos",
    "scripts",
    "server",
    "tests",
)
TEXT = {".json", ".md", ".pbtxt", ".proto", ".py", ".service", ".sh", ".toml", ".yaml", ".yml"}
HISTORY = {CHECKOUT / "CHANGELOG.md"}
"""Speaks of files by the names that they had."""
EXAMPLES = {CHECKOUT / "tests/unit/repository/test_plain_english.py", CHECKOUT / "scripts/plain_english/baseline.json"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MENTION = re.compile(r"(?<![\w/.-])docs/[\w./-]*\.md(?:#[\w-]+)?")


def texts() -> Iterator[Path]:
    """The written files of the checkout: no environment, no output."""
    found = [path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*")]
    for path in [*CHECKOUT.glob("*"), *found]:
        if path.is_file() and (path.suffix in TEXT or path.name == "Makefile") and path not in EXAMPLES:
            yield path


def pages() -> list[Path]:
    """The Markdown files."""
    return [path for path in texts() if path.suffix == ".md"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    slugs: dict[str, int] = {}
    for title in re.findall(r"(?m)^#+ +(.+?) *$", prose):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        slugs[slug] = slugs.get(slug, -1) + 1
    return {f"{slug}-{n}" if n else slug for slug, count in slugs.items() for n in range(count + 1)}


def broken(target: str, page: Path, base: Path) -> str | None:
    """The fault of a link or mention, None when it leads somewhere."""
    name, _, anchor = target.partition("#")
    path = (base / name).resolve() if name else page
    if not path.exists():
        return f"{page}: {target}: no such file"
    if anchor and path.suffix == ".md" and anchor not in anchors(path):
        return f"{page}: {target}: no such heading"
    return None


def test_links_of_pages_lead_to_files_and_headings() -> None:
    links = [(target, page) for page in pages() for target in LINK.findall(page.read_text())]
    local = [(target, page) for target, page in links if not target.startswith(("http://", "https://", "mailto:"))]
    assert len(local) > 100
    assert [wrong for target, page in local if (wrong := broken(target, page, page.parent))] == []


def test_pages_named_in_code_and_manifests_exist() -> None:
    mentions = [
        (target, path) for path in texts() if path not in HISTORY for target in MENTION.findall(path.read_text())
    ]
    assert len(mentions) > 50
    assert [wrong for target, path in mentions if (wrong := broken(target, path, CHECKOUT))] == []


def test_load_test_commands_named_anywhere_exist() -> None:
    named = {
        module
        for path in texts()
        if path not in HISTORY
        for module in re.findall(r"-m (load_tests(?:\.\w+)*)", path.read_text())
    }
    assert len(named) > 15
    runnable = {module for module in named if (spec := find_spec(module)) and (spec.origin or "").endswith(".py")}
    assert named - runnable == set()


def test_load_test_readme_names_every_command() -> None:
    text = (CHECKOUT / "load_tests" / "README.md").read_text()
    commands = [path for path in (CHECKOUT / "load_tests").glob("*.py") if path.stem != "__init__"]
    assert [path.stem for path in commands if f"python -m load_tests.{path.stem} " not in text.replace("`", " ")] == []


def test_index_lists_every_page() -> None:
    listed = {(DOCS / target.partition("#")[0]).resolve() for target in LINK.findall((DOCS / "README.md").read_text())}
    written = {page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"}
    folders = {path for path in listed if path.is_dir()}
    assert {page for page in written if page not in listed and not folders & set(page.parents)} == set()


@pytest.mark.parametrize(
    ("target", "expected"),
    [("b.md", None), ("b.md#a-title-of-code", None), ("b.md#none", "no such heading"), ("c.md", "no such file")],
)
def test_broken_links_are_recognised(tmp_path: Path, target: str, expected: str | None) -> None:
    (tmp_path / "b.md").write_text("# A title, of `code`\n")
    wrong = broken(target, tmp_path / "a.md", tmp_path)
    assert wrong is None if expected is None else (wrong or "").endswith(expected)
