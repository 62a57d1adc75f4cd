"""Minimisation, zero retention and erasure: what remains of photos after their calls.

Rule: an answer may have what it is for (boxes, labels, products), and nothing but the answer may.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline_privacy import vectors
from sightline_privacy.canary import Canary
from sightline_privacy.conversation import Conversation
from sightline_privacy.marks import EXIF_KINDS, Kind, Marks
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, judged, not_checked
from sightline_privacy.sources import Sources

IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*")
ALIKE = 0.9
"""Correlation of two small grey images above which they show the same."""
TEXT_HEAD = 4096
LABEL_VALUE = re.compile(r'="((?:[^"\\]|\\.)*)"')


@dataclass
class Remains:
    """The marks that were found, by kind and source; `searched` and `missing` say how far the search went."""

    found: list[tuple[Kind, str]] = field(default_factory=list)
    stored: list[tuple[Kind, str]] = field(default_factory=list)
    """The part of `found` that is on a disk."""
    searched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, kinds: Iterable[Kind], source: str, *, on_disk: bool) -> None:
        """Notes what was found in a source."""
        found = [(kind, source) for kind in sorted(kinds)]
        self.found += found
        self.stored += found if on_disk else []


def search(sources: Sources, marks: Marks) -> Remains:
    """Searches the log, the metrics, the spans and the files."""
    remains = Remains()
    for name, paths in (("the log", sources.logs), ("the spans", sources.spans)):
        for each in sources.new_of(paths):
            remains.add(marks.in_text(each.read().decode(errors="replace")), f"{name} {each.path}", on_disk=True)
        if paths:
            remains.searched.append(name)
    if not sources.logs:
        remains.missing.append("the log (--log)")
    _search_metrics(sources, marks, remains)
    count = 0
    for written in sources.new_files():
        count += 1
        remains.add(kinds_in_file(written.read(), marks), f"the file {written.path}", on_disk=True)
    if sources.folders:
        remains.searched.append(f"{count} new files in {len(sources.folders)} folders")
    remains.missing += sources.unread
    return remains


def _search_metrics(sources: Sources, marks: Marks, remains: Remains) -> None:
    if not sources.metrics_url:
        remains.missing.append("the metrics (--metrics)")
        return
    try:
        page = sources.metrics()
    except (OSError, ValueError) as error:
        remains.missing.append(f"the metrics ({type(error).__name__} at {sources.metrics_url})")
        return
    remains.add(kinds_in_metrics(page, marks), f"the metrics {sources.metrics_url}", on_disk=False)
    remains.searched.append("the metrics")


def kinds_in_metrics(page: str, marks: Marks) -> set[Kind]:
    """The kinds of marks in a page of metrics: labels of objects and sizes count in the values of labels only."""
    found = marks.in_bytes(page.encode())
    for line in page.splitlines():
        values = LABEL_VALUE.findall(line)
        found |= marks.in_text(" ".join(values)) if values else set()
        if any({str(side) for side in size} & set(values) for size in marks.canary.sizes):
            found.add(Kind.SIZE)
    return found


def kinds_in_file(data: bytes, marks: Marks) -> set[Kind]:
    """The kinds of marks in a file: a text, an image, or any other bytes."""
    if b"\0" not in data[:TEXT_HEAD]:
        return marks.in_text(data.decode(errors="replace"))
    found = marks.in_bytes(data)
    if vectors.has_vectors(data):
        found.add(Kind.EMBEDDING)
    if data.startswith(IMAGES) and shows_canary(data, marks.canary):
        found.add(Kind.PIXELS)
    return found


def shows_canary(data: bytes, canary: Canary) -> bool:
    """Returns whether an image file shows a canary photo, in any format and size."""
    seen = small(data)
    if seen is None:
        return False
    for photo in canary.photos:
        known = small(photo)
        if known is not None and float(np.corrcoef(seen.ravel(), known.ravel())[0, 1]) > ALIKE:
            return True
    return False


def small(data: bytes) -> NDArray[np.float64] | None:
    """An image as 24 x 24 grey values; None for bytes that are not an image, and for one of a single colour."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            grey = np.asarray(image.convert("L").resize((24, 24)), np.float64)
    except Exception:  # Pillow raises many kinds of errors for broken files
        return None
    return grey if grey.std() > 0 else None


def minimisation(made: Conversation, remains: Remains, marks: Marks) -> Result:
    """EXIF and GPS are nowhere, not even in an answer."""
    findings = [f"{source} holds {kind}" for kind, source in remains.found if kind in EXIF_KINDS]
    for outcome in made.answers:
        answer = b"".join(event.SerializeToString() for event in outcome.events)
        findings += [f"the answer to {outcome.name} holds {kind}" for kind in marks.in_bytes(answer) & EXIF_KINDS]
    return judged(
        Promise.MINIMISATION, findings, f"searched the answers, {', '.join(remains.searched)}", *notes(remains)
    )


def retention(remains: Remains, memory: Result | None) -> Result:
    """Nothing of a photo and of its answer is in the log, in metrics, spans or files, nor in memory after a rest."""
    findings = [f"{source} holds {kind}" for kind, source in remains.found if kind not in EXIF_KINDS]
    checked = [f"searched {', '.join(remains.searched)}"] if remains.searched else []
    if memory is not None and memory.verdict == "broken":
        findings += memory.reasons
    elif memory is not None:
        checked += memory.reasons
    else:
        checked.append("not the memory (--memory)")
    if not findings and not remains.searched and (memory is None or memory.verdict != "holds"):
        return not_checked(Promise.RETENTION, "nothing was given to search: --log, --metrics, --folder, --memory")
    return judged(Promise.RETENTION, findings, *checked, *notes(remains))


def erasure(remains: Remains, audit: list[str], sources: Sources) -> Result:
    """Nothing on a disk is about a photo, so no request for erasure has anything to erase."""
    if not (sources.logs and sources.folders):
        return not_checked(Promise.ERASURE, "needs the log (--log) and the folders (--folder)")
    findings = [f"{source} holds {kind}, which would have to be erased" for kind, source in remains.stored]
    findings += [f"{each}, which would have to be erased" for each in audit]
    return judged(Promise.ERASURE, findings, "nothing on the disks is about a photo", *notes(remains))


def notes(remains: Remains) -> Iterator[str]:
    """The sources that were not searched, for a result that holds."""
    if remains.missing:
        yield f"not {', '.join(remains.missing)}"
