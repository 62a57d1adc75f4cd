"""`sightline keys new | list | revoke`: the API keys of a server.

Rule: a key is shown once, alone on stdout, when it is made; nothing else ever shows it or its hash. A server takes a
change within seconds, without a signal.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo, echo_lines
from sightline_server.access.api_keys import StoredKey, StoredKeys, day, new_key
from sightline_server.access.key_file import change_keys, stored_keys
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.cli.reported_errors import errors_on_one_line, wrong

DAY_S = 86_400

app = typer.Typer(name="keys", help="Make, list and revoke API keys.", add_completion=False, no_args_is_help=True)

File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="File of the keys (default: access.keys_file).")
]


@app.command()
def new(
    principal: Annotated[str, typer.Argument(help="Principal of the policy that the key is for.")],
    file: File = None,
    config: ConfigFile = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until the key expires.")] = None,
    note: Annotated[str, typer.Option(help="Text that `list` shows, such as where the key is used.")] = "",
) -> None:
    """Make a key for a principal and print it; only its hash is stored."""
    with errors_on_one_line():
        path, now = keys_file(file, config), time.time()
        if len(note) > 200 or not note.isprintable():
            raise wrong("--note has at most 200 printable characters")
        try:
            key, stored = new_key(principal, now, None if days is None else int(now) + days * DAY_S, note)
        except ValueError as error:
            raise wrong(str(error)) from error
        change_keys(path, lambda keys: StoredKeys(keys=[*keys.keys, stored]))
        echo_lines(key)
        echo(f"key {stored.id} for {principal}; it is not shown again", err=True)


@app.command("list")
def list_keys(
    file: File = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the keys by id: principal, times and state."""
    with errors_on_one_line():
        path = keys_file(file, config)
        if not path.exists():
            raise wrong(f"there is no file {path}; `sightline keys new` makes it")
        keys, now = stored_keys(path).keys, time.time()
        if as_json:
            echo_lines(json.dumps({"keys": [facts(key, now) for key in keys]}, indent=2))
        else:
            echo_lines("\n".join(line(key, now) for key in keys) or "no keys")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `list` shows it.")],
    file: File = None,
    config: ConfigFile = None,
) -> None:
    """Revoke a key; it stays in the list."""
    with errors_on_one_line():
        path, now = keys_file(file, config), int(time.time())

        def revoked(keys: StoredKeys) -> StoredKeys:
            if key_id not in {key.id for key in keys.keys}:
                raise wrong("there is no key of this id; `sightline keys list` shows the ids")
            return StoredKeys(
                keys=[
                    key.model_copy(update={"revoked": now}) if key.id == key_id and key.revoked is None else key
                    for key in keys.keys
                ]
            )

        change_keys(path, revoked)
        echo(f"key {key_id} is revoked", err=True)


def keys_file(file: Path | None, config: Path | None) -> Path:
    """The file of the option, else that of the settings. Raises `SightlineError` of kind CONFIGURATION."""
    path = file or load(config).access.keys_file
    if path is None:
        raise wrong("no file of keys: give --file FILE, or set access.keys_file")
    return path


def facts(key: StoredKey, now: float) -> dict[str, object]:
    """A key as JSON shows it; times are Unix times in seconds."""
    return {**key.model_dump(exclude={"sha256"}), "state": key.state(now)}


def line(key: StoredKey, now: float) -> str:
    """A key as a line of the list."""
    ends = f"until {day(key.expires)}" if key.expires is not None else "without end"
    return "  ".join(filter(None, (key.id, key.principal, key.state(now), f"made {day(key.created)}", ends, key.note)))
