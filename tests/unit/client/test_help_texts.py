"""Help texts: every command and option has one, and no part of it is lost on the terminal."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import typer
from rich.text import Text

from sightline_client.cli.external import GROUP, SUMMARIES
from sightline_client.cli.root import app as sightline

APPS: dict[str, typer.Typer] = {command.name: command.load() for command in entry_points(group=GROUP)}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its name, the client's and the server's."""
    for name, app in {"": sightline, **APPS}.items():
        command = typer.main.get_command(app)
        yield name, command
        for each in getattr(command, "commands", {}).values():
            # The overview only forwards the commands of the server, whose options are in their apps.
            if each.name not in APPS:
                yield f"{name} {each.name}".strip(), each


def test_no_help_text_loses_a_part_in_brackets() -> None:
    texts = [
        text
        for _, command in commands()
        for text in (command.help, *(getattr(parameter, "help", None) for parameter in command.params))
        if text
    ]
    assert len(texts) > 50
    assert [text for text in texts if Text.from_markup(text).plain != text] == []
    assert [text for text in texts if re.search(r"\[default", text)] == []


def test_every_command_and_every_option_has_a_help_text() -> None:
    missing = [
        f"{name} {parameter.name}"
        for name, command in commands()
        for parameter in (command, *command.params)
        if not getattr(parameter, "help", None)
    ]
    assert missing == []


def test_the_overview_describes_each_server_command_in_the_imperative() -> None:
    assert set(APPS) == set(SUMMARIES)
    assert [text for text in SUMMARIES.values() if text.split()[0].endswith("s")] == []


def test_the_overview_describes_each_group_as_the_group_does() -> None:
    helped = {name: app.info.help for name, app in APPS.items() if isinstance(app.info.help, str)}
    assert {"catalog", "models"} <= set(helped)
    assert helped == {name: SUMMARIES[name] for name in helped}
