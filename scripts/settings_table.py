"""Writes `docs/operate/settings.md` from the settings themselves; `--check` compares and exits 1 when it is stale."""

import argparse
import ast
import inspect
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sightline_server import settings
from sightline_server.settings import Settings

TARGET = Path(__file__).resolve().parent.parent / "docs" / "operate" / "settings.md"
HEAD = """# Settings

Made by `scripts/settings_table.py` from `server/sightline_server/settings/`.

A setting comes from the command line, else from its variable, else from the TOML file given with `--config`, else from
the default. `sightline serve --print-config` shows the result. In TOML a group is a table:

```toml
[limits]
max_objects = 12
```
"""


def documented(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field of `model`."""
    body = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    return found


def default_of(name: str, group: str, value: object) -> str:
    """A default as the table shows it; one that depends on the machine is described."""
    if (group, name) == ("decode", "threads"):
        return "the cores, at most 4"
    if name in ("person_labels", "not_products"):
        return "the model's own"
    return "" if value in (None, PydanticUndefined) else f"`{value}`"


def table(group: str, model: type[BaseModel]) -> str:
    """One group as a section."""
    texts = documented(model)
    name_in_variable = group.upper().replace(".", "__")
    lines = [
        f"\n## `[{group}]`\n\n{inspect.cleandoc(model.__doc__ or '')}\n",
        "| setting | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            shown = ", ".join(f"{key} {item}" for key, item in value.model_dump().items())
        else:
            shown = default_of(name, group, value)
        lines.append(f"| `{name}` | `SIGHTLINE_{name_in_variable}__{name.upper()}` | {shown} | {texts.get(name, '')} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    groups = [
        (name, type(field.default))
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, settings.Part)
    ]
    after_catalog = [name for name, _ in groups].index("catalog") + 1
    groups.insert(after_catalog, ("catalogs.NAME", settings.ServedCatalogSettings))
    home = (
        "\n`home`, variable `SIGHTLINE_HOME`: the folder for engine, models and catalogs. Default: `.sightline` of the "
        "checkout that the program runs from; for an installed package `~/.local/share/sightline` "
        "([users without a home](environment.md#home-users-and-rights)).\n"
    )
    return HEAD + home + "".join(table(name, model) for name, model in groups)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        TARGET.write_text(page())
    elif not TARGET.exists() or TARGET.read_text() != page():
        sys.exit("docs/operate/settings.md is stale, run `make docs`")
