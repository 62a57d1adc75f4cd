"""The two lines of a control call: which catalogs to open again, and what became of each.

Rule: plain JSON, and nothing that is not a name, a revision or a public message.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

SOCKET = "control"
"""Name of the socket in the runtime folder."""
MOST_BYTES = 1024 * 1024
"""Longest line."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The outcome of one reload: the revision `before` and the one that is served `now`.

    `error` says why the catalog could not be opened again; then `now` is `before`. It is empty otherwise. `note` says
    why a reload had nothing to do, where that is not plain.
    """

    catalog: str
    before: str
    now: str
    error: str = ""
    note: str = ""


Reload = Callable[[Sequence[str]], Awaitable[Sequence[Reloaded]]]
"""Opens the named catalogs again, all of them where none is named, and returns when that is done."""


def request_line(names: Sequence[str]) -> bytes:
    """The request to open `names` again."""
    return json.dumps({"reload": list(names)}).encode() + b"\n"


def names_of(line: bytes) -> list[str]:
    """The names of a request. Raises ValueError for anything else."""
    asked = json.loads(line)
    names = asked.get("reload") if isinstance(asked, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("not a request to reload catalogs")
    return names


def report_line(reports: Sequence[Reloaded]) -> bytes:
    """The answer."""
    return json.dumps([asdict(report) for report in reports]).encode() + b"\n"


def reports_of(line: bytes) -> list[Reloaded]:
    """The reverse of `report_line`. Raises ValueError for anything else."""
    try:
        return [Reloaded(**report) for report in json.loads(line)]
    except TypeError as error:
        raise ValueError("not a report on catalogs") from error
