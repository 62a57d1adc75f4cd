"""The generations of a catalog: its content embedded by one embedder, with its own columns and Lance dataset.

    generation 1   base.lance     what the catalog was made with      (its facts are in the table `meta`)
    generation G   base-G.lance   prepared by `CatalogStore.prepare`  (its facts are in the table `generations`)
Rule: a log gets the tables of generations, and with them another format, with its second generation. Until then earlier
versions of Sightline read and write it.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline_server.catalog.log_file import FORMAT
from sightline_server.catalog.operations import Layout
from sightline_server.catalog.revisions import Revision

FIRST = 1
GENERATIONS_FORMAT = 3
"""The format of a log with more than one generation."""
BASE = "base.lance"
MIGRATION = (
    "CREATE TABLE generations (number INTEGER PRIMARY KEY, schema BLOB NOT NULL, heavy TEXT NOT NULL, "
    "facts TEXT NOT NULL)",
    "CREATE TABLE origins (generation INTEGER NOT NULL, mark BLOB NOT NULL, origin BLOB NOT NULL, "
    "PRIMARY KEY (generation, mark)) WITHOUT ROWID",
    f"ALTER TABLE revisions ADD COLUMN generation INTEGER NOT NULL DEFAULT {FIRST}",
)


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation: its columns, and the facts that it was made with (its embedder)."""

    number: int
    layout: Layout
    facts: Mapping[str, Any]


def base_name(generation: int) -> str:
    """The name of the Lance dataset of a generation."""
    return BASE if generation == FIRST else f"base-{generation}.lance"


def generation_of(name: str) -> int | None:
    """The generation whose dataset is called `name`; None for another file."""
    if name == BASE:
        return FIRST
    number = name.removeprefix("base-").removesuffix(".lance")
    return int(number) if number.isdecimal() and name == base_name(int(number)) else None


def newest_versions(revisions: Sequence[Revision]) -> dict[int, int]:
    """The newest version of the base that counts, of each generation of which something is kept."""
    found: dict[int, int] = {}
    for each in revisions:
        if each.base_version is not None:
            found[each.generation] = max(each.base_version, found.get(each.generation, 0))
    return found


def foreign_folders(folder: Path, known: Iterable[int]) -> list[Path]:
    """The datasets in `folder` of generations that are not `known`: of a preparation that did not end."""
    numbers = {entry: generation_of(entry.name) for entry in sorted(folder.iterdir())}
    return [entry for entry, number in numbers.items() if number is not None and number not in known]


def select(connection: sqlite3.Connection, meta: Mapping[str, Any]) -> dict[int, Generation]:
    """All generations by number. Raises KeyError, ValueError, TypeError or `pa.ArrowException` for a damaged one."""
    found = {FIRST: parsed(FIRST, meta["schema"], meta["heavy"], meta["facts"])}
    if meta["format"] != FORMAT:
        rows = connection.execute("SELECT number, schema, heavy, facts FROM generations")
        found |= {row[0]: parsed(*row) for row in rows}
    return found


def parsed(number: int, schema: bytes, heavy: str, facts: str) -> Generation:
    """The generation of a row."""
    layout = Layout(pa.ipc.read_schema(pa.py_buffer(schema)), tuple(json.loads(heavy)))
    return Generation(number, layout, json.loads(facts))


def migrate(connection: sqlite3.Connection) -> None:
    """Gives a log the tables of generations, unless it has them."""
    if connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()[0] == FORMAT:
        for statement in MIGRATION:
            connection.execute(statement)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (GENERATIONS_FORMAT,))


def insert(connection: sqlite3.Connection, generation: Generation, origins: Mapping[bytes, bytes]) -> None:
    """Adds a generation with the origins of its rows; the first addition gives the log its tables."""
    migrate(connection)
    layout = generation.layout
    values = (layout.schema.serialize().to_pybytes(), json.dumps(layout.heavy), json.dumps(dict(generation.facts)))
    connection.execute("INSERT INTO generations VALUES (?, ?, ?, ?)", (generation.number, *values))
    rows = ((generation.number, mark, origin) for mark, origin in origins.items() if mark != origin)
    connection.executemany("INSERT INTO origins VALUES (?, ?, ?)", rows)


def select_origins(connection: sqlite3.Connection, generation: int) -> dict[bytes, bytes]:
    """The origin of each mark of a generation; that of another mark is the mark itself."""
    if connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()[0] == FORMAT:
        return {}
    rows = connection.execute("SELECT mark, origin FROM origins WHERE generation = ?", (generation,))
    return dict(rows.fetchall())
