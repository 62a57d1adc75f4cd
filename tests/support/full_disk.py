"""A catalog on a small disk, which is full or read-only before one step: `python -m tests.support.full_disk ...`

    unshare -rm python -m tests.support.full_disk FOLDER STRIDE STEP:blocks|inodes|read-only ...
Rule: the step is tried with no free space, with STRIDE pages (or files) and so on until it succeeds at once. Each time
it may fail only with an error that says what to do; the content stays readable and is as it was; the same step succeeds
once there is space again, in the same process and after a restart. Prints one line of JSON a step. It mounts, so the
caller puts it into a user namespace.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sightline_server.catalog.revisions import Revision
from sightline_server.catalog.verify import verify
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog, ProductUpdate
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.generations import OTHER, prepare

PAGE = 4096
DISK_PAGES = 1024
INODES = 600
MOST_FREE = 160
EXPECTED = {
    "blocks": (ErrorKind.OVERLOADED, ("free some space",)),
    "inodes": (ErrorKind.OVERLOADED, ("free some space",)),
    "read-only": (ErrorKind.CONFIGURATION, ("can be written", "may read and write")),
}
"""The kind of the error that a step ends with, and the remedies that it names."""
Content = dict[str, str]
"""The title of each product."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a catalog. `change` is made to the opened catalog; `after` is what it makes of the content."""

    change: Callable[[LivingCatalog], object]
    after: Callable[[Content], Content]
    format: int = 2
    opens: bool = False
    """The step is the opening of the catalog, so that the disk is full before it."""


def built() -> Content:
    """The content of revision 1."""
    return {f"p{number}": f"title {number}" for number in range(4)}


def prepared(shop: Path) -> Content:
    """Makes a catalog of format 2 with three revisions and two operations after them. Returns its content."""
    build(shop)
    with LivingCatalog(shop) as living:
        living.upsert([row("new", unit_vectors(1, 9), title="new")])
        living.checkpoint()
        living.delete(["p0"])
        living.checkpoint()
        living.update([ProductUpdate("p1", {"title": "changed"})])
        living.upsert([row("more", unit_vectors(2, 10), title="more")])
    return {"p1": "changed", "p2": "title 2", "p3": "title 3", "new": "new", "more": "more"}


def build(shop: Path) -> Content:
    """Makes a catalog of format 1."""
    write_catalog(shop, [row(name, unit_vectors(1, n), title=title) for n, (name, title) in enumerate(built().items())])
    return built()


def unchanged(content: Content) -> Content:
    return content


def upsert(living: LivingCatalog) -> object:
    return living.upsert([row("big", unit_vectors(3, 11), title="x" * 20_000)], "request")


def update(living: LivingCatalog) -> object:
    return living.update([ProductUpdate("p2", {"title": "y" * 9000})], "request")


def upsert_with_original(living: LivingCatalog) -> object:
    """Makes the catalog keep originals, and writes a product with one."""
    living.originals.switch(True)
    file = living.originals.add(b"original" * 5000)
    return living.upsert([replace(row("big", unit_vectors(1, 11), title="x" * 20_000), originals=(file,))], "request")


def prepare_other(living: LivingCatalog) -> Revision:
    """Prepares a revision of the embedder that the catalog does not have."""
    return prepare(living._path, living, OTHER if living.embedder == SPEC else SPEC)


def switch(living: LivingCatalog) -> object:
    return living.store.rollback(prepare_other(living).number)


STEPS: dict[str, Step] = {
    "adopt": Step(lambda living: None, unchanged, format=1, opens=True),
    "open": Step(lambda living: None, unchanged, opens=True),
    "upsert": Step(upsert, lambda content: content | {"big": "x" * 20_000}),
    "update": Step(update, lambda content: content | {"p2": "y" * 9000}),
    "delete": Step(lambda living: living.delete(["p3"]), lambda content: without(content, "p3")),
    "checkpoint": Step(lambda living: living.checkpoint(), unchanged),
    "rollback": Step(lambda living: living.store.rollback(1), lambda content: built()),
    "compact": Step(lambda living: living.store.compact(1), unchanged),
    "originals": Step(upsert_with_original, lambda content: content | {"big": "x" * 20_000}),
    "prepare": Step(prepare_other, unchanged),
    "switch": Step(switch, unchanged),
}


def without(content: Content, name: str) -> Content:
    return {each: title for each, title in content.items() if each != name}


class Disk:
    """A small disk at `folder`: `fill` leaves so many pages or files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        options = f"size={DISK_PAGES * PAGE},nr_inodes={INODES}"
        self._mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
        self._covered = False
        self._filler = folder / ".filler"
        self._filler.mkdir()

    def fill(self, resource: str, free: int) -> None:
        """Leaves `free` pages ("blocks") or new files ("inodes"), or forbids all changes ("read-only") with 0."""
        if resource == "read-only":
            if not free:
                # Files that are open stay writable, as a disk in use cannot be remounted.
                self._mount("--bind", str(self.folder), str(self.folder))
                self._mount("-o", "remount,bind,ro", str(self.folder))
                self._covered = True
            return
        found = os.statvfs(self.folder)
        if resource == "blocks":
            (self._filler / "0").write_bytes(bytes(PAGE * (found.f_bfree - free)))
            return
        for number in range(found.f_ffree - free):
            (self._filler / f"{number}").touch()

    def empty(self) -> None:
        """Gives the space back."""
        if self._covered:
            self._mount("-o", "remount,bind,rw", str(self.folder))
        for each in self._filler.iterdir():
            each.unlink()

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True)

    def close(self) -> None:
        """Removes the disk."""
        for _ in range(1 + self._covered):
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    disk = Disk(folder)
    try:
        yield disk
    finally:
        disk.close()


@dataclass
class Sweep:
    """All tries of one step."""

    step: Step
    template: Path
    before: Content
    resource: str
    stride: int
    tries: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    messages: set[str] = field(default_factory=set)

    def run(self, folder: Path) -> None:
        """Tries with more and more space, until the step succeeds at once; half of them with a restart."""
        for number, free in enumerate(range(0, MOST_FREE, self.stride)):
            ways = (False, True) if self.stride == 1 or not free else (bool(number % 2),)
            results = [self.tried(folder, free, restart=restart) for restart in ways]
            self.tries += len(results)
            if all(results):
                return
            self.refused += len(results)
        self.faults.append(f"it never succeeded with up to {MOST_FREE} free {self.resource}")

    def tried(self, folder: Path, free: int, *, restart: bool) -> bool:
        """One try. Returns whether the step succeeded at once."""
        name = f"{free} free, {'restart' if restart else 'same process'}"
        with small_disk(folder) as disk:
            shop = folder / "shop"
            shutil.copytree(self.template, shop)
            try:
                return self.played(shop, disk, free, restart=restart)
            except Exception as error:
                self.faults.append(f"{name}: {type(error).__name__}: {error}"[:600])
                return False

    def played(self, shop: Path, disk: Disk, free: int, *, restart: bool) -> bool:
        """The step on a full disk, then with space."""
        after = self.step.after(self.before)
        if self.step.opens:
            disk.fill(self.resource, free)
            succeeded = self.opened(shop)
            assert content(shop) == self.before
            disk.empty()
        else:
            with LivingCatalog(shop) as living:
                disk.fill(self.resource, free)
                succeeded = self.changed(living)
                assert content(shop) == (after if succeeded else self.before), "content on the full disk"
                if not succeeded and not self.changed(living):
                    assert content(shop) == self.before, "content after a second attempt"
                if not restart:
                    disk.empty()
                    self.step.change(living)
                    assert content(shop) == after, "content with space"
            if restart:
                self.opened(shop)
                assert content(shop) in (self.before, after), "content after a restart on the full disk"
                disk.empty()
        with LivingCatalog(shop) as living:
            self.step.change(living)
            assert content(shop) == after, "content after a restart"
            self.used(living, shop, after)
        return succeeded

    def opened(self, shop: Path) -> bool:
        """Opens the catalog for writing on the full disk."""
        try:
            with LivingCatalog(shop):
                return True
        except SightlineError as error:
            self.said(error)
            return False

    def changed(self, living: LivingCatalog) -> bool:
        """Makes the change on the full disk."""
        try:
            self.step.change(living)
        except SightlineError as error:
            self.said(error)
            return False
        return True

    def said(self, error: SightlineError) -> None:
        """Checks an error of a full disk."""
        self.messages.add(f"{error.kind.name}: {error.message.replace(str(Path.cwd()), '')}")
        kind, remedies = EXPECTED[self.resource]
        if error.kind is not kind or not any(remedy in error.message for remedy in remedies):
            self.faults.append(f"the error does not say what to do: {error.kind.name}: {error.message}")

    def used(self, living: LivingCatalog, shop: Path, expected: Content) -> None:
        """Writes to the catalog as usual."""
        living.upsert([row("later", unit_vectors(1, 12, living.embedder.dimension), title="later")])
        living.checkpoint()
        assert content(shop) == expected | {"later": "later"}, "content after a later write"
        bad = [finding.text for finding in verify(shop, all_revisions=True) if not finding.good]
        assert not bad, bad


def content(shop: Path) -> Content:
    """The title of each product, as a reader sees it."""
    return {each["id"]: each["title"] for each in open_catalog(shop).display.to_pylist()}


def main(folder: Path, stride: int, names: list[str]) -> int:
    """Sweeps the steps `names`, each written STEP:RESOURCE."""
    for name in names:
        step_name, _, resource = name.partition(":")
        step = STEPS[step_name]
        template, mount_point = folder / f"template-{step_name}-{resource}", folder / "disk"
        mount_point.mkdir(exist_ok=True)
        before = build(template) if step.format == 1 else prepared(template)
        sweep = Sweep(step, template, before, resource, stride)
        sweep.run(mount_point)
        found = {"step": name, "tries": sweep.tries, "refused": sweep.refused, "faults": sweep.faults[:20]}
        print(json.dumps(found | {"messages": sorted(sweep.messages)[:20]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
