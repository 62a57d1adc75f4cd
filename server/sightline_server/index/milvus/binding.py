"""The file in a catalog's folder that says which collection of Milvus has its content.

    push --writable -> equal digests -> the file is written -> every write goes to both -> the next start finds the file
Rule: the file counts for one opening of the log after the other. Where another process has opened the log in between,
it may have written what Milvus lacks, and nothing but a push makes the two equal again.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sightline_server.catalog.durable import sync

FILE = "milvus.json"


@dataclass(frozen=True, slots=True)
class Binding:
    """`collection` has every operation up to `seq`, and those after it which were acknowledged.

    `epoch` is that of the log when it was opened by the process that wrote this.
    """

    collection: str
    epoch: int
    seq: int

    def write(self, folder: Path) -> None:
        """Writes the file, in one step. Raises `OSError`."""
        path, new = folder / FILE, folder / f"{FILE}.new"
        new.write_text(json.dumps(asdict(self)), "utf-8")
        sync(new)
        new.replace(path)
        sync(folder)

    def holds(self, collection: str, epoch: int) -> bool:
        """Returns whether it is about `collection`, for a process that has opened the log with `epoch`."""
        return self.collection == collection and epoch - self.epoch in (0, 1)


def read_binding(folder: Path) -> Binding | None:
    """The file of `folder`; None where there is none, or another program wrote it."""
    try:
        return Binding(**json.loads((folder / FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
