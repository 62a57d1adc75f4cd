"""Zero retention in memory: what the processes of a server still hold of the canary photos after a rest.

Rule: it needs the right to read their memory, which root has, and says so where it is missing.
"""

from collections import Counter
from pathlib import Path

from sightline_privacy.canary import Canary
from sightline_privacy.memory_scan import Pieces, Searcher, can_read, tree
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, broken, holds, not_checked

REST_S = 10.0
"""Seconds after the last call for which the promise is made."""


def pieces_of(canary: Canary, another: Canary) -> Pieces:
    """Pieces of the encoded photos, of the EXIF and of pixels; those that `another` canary has too are left out.

    Such are tags of the EXIF and areas of one colour, which the photos of an earlier verification have as well.
    """
    shared = b"".join((another.exif, *another.photos))
    pieces = Pieces.of(
        {
            "encoded": canary.jpeg[len(canary.jpeg) // 4 :],
            "png": canary.png[len(canary.png) // 100 :],
            "exif": canary.exif,
            "pixels": canary.pixels.tobytes(),
        }
    )
    return Pieces({kind: [each for each in windows if each not in shared] for kind, windows in pieces.windows.items()})


def forgotten(pid: int, canary: Canary, another: Canary) -> Result:
    """The result of a search of the memory of process `pid` and all below it; `another` canary was not sent."""
    if not Path(f"/proc/{pid}").is_dir():
        return not_checked(Promise.RETENTION, f"there is no process {pid}")
    if not can_read(pid):
        return not_checked(Promise.RETENTION, f"no right to read the memory of process {pid}, as root has")
    searcher = Searcher(pieces_of(canary, another))
    findings, processes, gone = [], 0, 0
    for name, process in tree(pid).items():
        try:
            found = searcher.scan(process)
        except OSError:
            gone += 1
            continue
        processes += 1
        counts = Counter(each.kind for each in found)
        findings += [f"the memory of {name} holds {count} pieces of: {kind}" for kind, count in counts.items()]
    if findings:
        return broken(Promise.RETENTION, findings)
    ended = f", {gone} could not be read" if gone else ""
    return holds(Promise.RETENTION, f"the memory of {processes} processes after {REST_S:g} s{ended}")
