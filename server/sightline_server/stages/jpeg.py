"""The structure of a JPEG: size, components, orientation, scans, and where its data ends.

Rule: linear in the bytes, at most `MAX_SEGMENTS` segments and `MAX_SCANS` scans, and nothing is decoded. Segments are
skipped by their lengths, so that the end marker of a thumbnail inside EXIF does not count. What follows the end marker
(the further images of a multi-image file, a phone's film) is not read. Source: ITU-T T.81, annex B.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from sightline_server.stages import exif
from sightline_server.stages.refusals import invalid, truncated

SIGNATURE = b"\xff\xd8\xff"
END_MARKER = b"\xff\xd9"
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, RESTART_INTERVAL, APP1 = 0xD8, 0xD9, 0xDA, 0xDD, 0xE1
APP2, PROFILE_PREFIX, PROFILE_HEADER = 0xE2, b"ICC_PROFILE\0", 14
"""A profile lies in pieces behind the prefix, the piece's number and their count."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; the three left out are tables and a reserved code."""
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
METADATA = frozenset({*range(0xE1, 0xF0), 0xFE}) - {0xEE}
"""APP1 to APP15 and comments; APP14 is Adobe's and states the colours, APP0 is JFIF's."""
ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
"""Codes without a length; 0xff00 outside of a scan is stray data, which decoders skip too."""

MAX_SEGMENTS = 1024
"""Segments of one JPEG. 20 MiB of metadata, in segments as large as they may be, are 320."""
MAX_SCANS = 100
"""Scans of one JPEG. A usual progressive one has about ten; each costs a pass over all pixels and maybe few bytes."""
MARKER = re.compile(rb"\xff[^\xff]")
SCAN_END = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""The next marker behind a scan's data, in which 0xff is escaped and restart markers may be."""
SEARCHED_AT_ONCE = 1 << 20
"""Bytes of one search for a marker: it holds the interpreter's lock, and other calls wait meanwhile."""
COEFFICIENTS = 64
BITS = 8
"""Bits of a sample in the JPEGs that are decoded."""
FRAME_BYTES = 6
"""Bytes of a frame header before its components."""


@dataclass(frozen=True, slots=True)
class Component:
    """One plane: its id, and its blocks in an MCU in each direction."""

    id: int
    across: int
    down: int


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan: its components, the coefficients `first..last` that it holds, and the lowest bit of them."""

    components: tuple[int, ...]
    first: int
    last: int
    bit: int
    start: int
    """Offset of its data."""


@dataclass(frozen=True, slots=True)
class Jpeg:
    """The facts in the markers of a JPEG."""

    width: int
    height: int
    precision: int
    components: tuple[Component, ...]
    orientation: int
    profile: bytes
    """The ICC profile, as far as its pieces are there; empty without one."""
    restart_interval: int
    scans: tuple[Scan, ...]
    end: int
    """The end of the image data: at the end marker, or where it should be."""
    ended: bool
    """True if the end marker is there."""

    @property
    def holds_one_scan(self) -> bool:
        """True if the first scan is all that decoders read: it holds every component and all coefficients."""
        first = self.scans[0]
        return len(first.components) == len(self.components) and (first.first, first.last, first.bit) == (0, 63, 0)

    @property
    def samples_per_pixel(self) -> float:
        """Samples of all components for one pixel: 3 where colours have the full size, 1.5 for 4:2:0."""
        most = max(each.across for each in self.components) * max(each.down for each in self.components)
        return sum(each.across * each.down for each in self.components) / most

    @property
    def begins_all_coefficients(self) -> bool:
        """True if the scans bring every coefficient to its last bit, the last scan being whole."""
        missing = set(product((component.id for component in self.components), range(COEFFICIENTS)))
        for scan in self.scans:
            if scan.bit == 0:
                missing -= set(product(scan.components, range(scan.first, scan.last + 1)))
        return not missing


def read(photo: bytes) -> Jpeg:
    """The structure of `photo`, which begins with `SIGNATURE`.

    Raises `SightlineError` of kind INVALID_IMAGE when there is no frame or no scan, or too many segments or scans.
    """
    frame, progressive, turned, interval, scans = b"", False, 0, 0, list[Scan]()
    end, ended = len(photo), False
    profile: dict[int, bytes] = {}
    for marker, start, stop in segments(photo):
        if marker in (END_OF_IMAGE, START_OF_IMAGE) or stop > len(photo):
            end, ended = start, marker == END_OF_IMAGE
            break
        body = slice(start + 4, stop)
        if marker in FRAMES and not frame:
            frame, progressive = photo[body], marker in PROGRESSIVE
        elif marker == RESTART_INTERVAL:
            interval = int.from_bytes(photo[body][:2])
        elif marker == APP1 and not turned and photo.startswith(exif.PREFIX, body.start):
            turned = exif.orientation(memoryview(photo)[body])
        elif marker == APP2 and photo.startswith(PROFILE_PREFIX, body.start) and stop > body.start + PROFILE_HEADER:
            profile.setdefault(photo[body.start + PROFILE_HEADER - 2], photo[body.start + PROFILE_HEADER : stop])
        elif marker == START_OF_SCAN:
            if scans and not progressive and holds_all(frame, scans[0]):
                end, ended = start, True
                break
            scans.append(to_scan(photo[body], stop, progressive=progressive))
            if not progressive and holds_all(frame, scans[0]) and photo.endswith(END_MARKER):
                # Decoders read no other scan, so none is searched for, which saves a pass over most photos.
                end, ended = len(photo) - len(END_MARKER), True
                break
            if len(scans) > MAX_SCANS:
                raise invalid(f"the photo has more than {MAX_SCANS} scans", "jpeg")
    if len(frame) < FRAME_BYTES or not scans:
        raise truncated("jpeg")
    return Jpeg(
        width=int.from_bytes(frame[3:5]),
        height=int.from_bytes(frame[1:3]),
        precision=frame[0],
        components=to_components(frame),
        orientation=turned or 1,
        profile=b"".join(profile[number] for number in sorted(profile)),
        restart_interval=interval,
        scans=tuple(scans),
        end=end,
        ended=ended,
    )


def segments(photo: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, where it begins and where its segment ends, of each segment; the last may end beyond the photo.

    Raises `SightlineError` of kind INVALID_IMAGE when there are too many.
    """
    place, pattern = 2, MARKER
    for _ in range(MAX_SEGMENTS):
        start = find(pattern, photo, place)
        if start < 0:
            return
        marker = photo[start + 1]
        place = start + 2
        if marker not in ALONE and marker not in (END_OF_IMAGE, START_OF_IMAGE):
            place += max(2, int.from_bytes(photo[place : place + 2]))
        yield marker, start, place
        if marker not in ALONE:
            pattern = SCAN_END if marker == START_OF_SCAN else MARKER
    raise invalid(f"the photo has more than {MAX_SEGMENTS} segments", "jpeg")


def find(pattern: re.Pattern[bytes], photo: bytes, place: int) -> int:
    """The first position of the two bytes of `pattern`, from `place` on; -1 when there is none."""
    while place < len(photo):
        # One byte more, because a marker may lie across the border.
        match = pattern.search(photo, place, place + SEARCHED_AT_ONCE + 1)
        if match:
            return match.start()
        place += SEARCHED_AT_ONCE
    return -1


def to_scan(header: bytes, start: int, *, progressive: bool) -> Scan:
    """The scan of the header after its length; its data begins at `start`."""
    count = header[0] if header else 0
    first, last, bits = (*header[1 + 2 * count : 4 + 2 * count], 0, 0, 0)[:3]
    if not progressive:
        first, last, bits = 0, COEFFICIENTS - 1, 0
    return Scan(tuple(header[1 : 1 + 2 * count : 2]), first, min(last, COEFFICIENTS - 1), bits & 0x0F, start)


def to_components(frame: bytes) -> tuple[Component, ...]:
    """The components of a frame header after its length."""
    count = min(frame[5], (len(frame) - FRAME_BYTES) // 3)
    triples = (frame[place : place + 3] for place in range(FRAME_BYTES, FRAME_BYTES + 3 * count, 3))
    return tuple(Component(each[0], max(1, each[1] >> 4), max(1, each[1] & 0x0F)) for each in triples)


def holds_all(frame: bytes, scan: Scan) -> bool:
    """Returns whether the scan holds every component of the frame, the only one that sequential decoders then read."""
    return frame[5:6] == bytes((len(scan.components),))


def bare(photo: bytes) -> bytes:
    """The JPEG without its metadata: what comes before its first scan, less EXIF, XMP, profiles and comments."""
    kept, done = [photo[:2]], 2
    for marker, start, stop in segments(photo):
        if marker == START_OF_SCAN:
            done = start
            break
        if marker not in METADATA and marker not in ALONE:
            kept.append(photo[start:stop])
        done = stop
    return b"".join((*kept, photo[done:]))
