"""The format of a file by its first bytes: those that are decoded, and those that a refusal can name.

Rule: names come from the tables here, never from the file; at most `SNIFFED` bytes are searched. Nothing
is decoded.
"""

import base64
import binascii
import re
from collections.abc import Collection
from importlib.util import find_spec
from typing import Final

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages import exif
from sightline_server.stages.refusals import invalid

SNIFFED = 1024

DECODED: Final[dict[str, re.Pattern[bytes]]] = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        "jpeg": rb"\xff\xd8\xff",
        "png": rb"\x89PNG\r\n\x1a\n",
        "webp": rb"RIFF....WEBP",
        "gif": rb"GIF8[79]a",
        # Two letters are not enough: the size of the next header distinguishes a bitmap from a text.
        "bmp": rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",
        "tiff": rb"II[*+]\0|MM\0[*+]",
        # Before HEIC: both may have the brand mif1, and then another brand names the format.
        "avif": rb"....ftyp(?:avi[fs]|mi[fa][12f].{4}(?:.{4}){0,9}?avi[fs])",
        "heic": rb"....ftyp(?:he(?:ic|ix|im|is|vc|vx|vm|vs|if)|mif[12]|msf1|mi[ah][fbec])",
    }.items()
}
"""The formats that can be decoded."""

USUAL_FORMATS: Final = ("jpeg", "png", "webp", "gif", "bmp", "tiff")
"""Formats of catalog images; the others only where `decode.formats` names them."""
NEEDED: Final = {
    "heic": ("pillow_heif", "pillow-heif", "pip install 'sightline[heif]'"),
    "avif": ("PIL._avif", "Pillow with AVIF", "install a wheel of Pillow from PyPI"),
}
"""Module and package that decode a format, and how to get them."""

PROLOGUE: Final = rb"\s*(?:<\?xml(?>.*?\?>)\s*)?(?:<!--(?>.*?-->)\s*)*+"
"""XML declaration and comments; atomic, because a comment could else be read in countless ways."""

TITLES: Final = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
    "heic": "HEIC",
}

REFUSED: Final[tuple[tuple[str, str, re.Pattern[bytes]], ...]] = tuple(
    (name, title, re.compile(pattern, re.DOTALL | re.IGNORECASE if pattern.startswith(b"\\s*") else re.DOTALL))
    for name, title, pattern in (
        ("cr3", "a raw camera file (Canon CR3)", rb"....ftypcrx "),
        ("jxl", "JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
        ("jpeg2000", "JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        ("jxr", "JPEG XR", rb"II\xbc"),
        ("mov", "a QuickTime film, such as that of a live photo", rb"....(?:ftypqt  |moov|mdat|wide|pnot)"),
        ("mp4", "an MP4 film", rb"....ftyp"),
        ("webm", "a Matroska or WebM film", rb"\x1a\x45\xdf\xa3"),
        ("avi", "an AVI film", rb"RIFF....AVI "),
        ("mpeg", "an MPEG film", rb"\0\0\x01[\xb3\xba]"),
        ("audio", "an audio file", rb"RIFF....WAVE|ID3|OggS|fLaC|#!AMR"),
        ("raw", "a raw camera file", rb"IIR[OS]\x08\0|MMOR|IIU\0|FUJIFILMCCD-RAW|FOVb|\0MRM"),
        ("pdf", "PDF", rb".{0,1019}?%PDF-"),
        ("eps", "PostScript or EPS", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("psd", "a Photoshop file", rb"8BP[SB]"),
        ("xcf", "a GIMP file", rb"gimp xcf"),
        ("ico", "an icon file", rb"\0\0[\x01\x02]\0[^\0]\0|icns"),
        ("pnm", "PNM (PBM, PGM, PPM)", rb"P[1-7fF][\s#]"),
        ("exr", "OpenEXR", rb"\x76\x2f\x31\x01"),
        ("hdr", "Radiance HDR", rb"#\?R(?:ADIANCE|GBE)"),
        ("qoi", "QOI", rb"qoif"),
        ("dds", "DDS", rb"DDS "),
        ("mng", "MNG or JNG", rb"\x8a[MJ]NG"),
        ("dicom", "DICOM", rb".{128}DICM"),
        ("wmf", "a Windows metafile", rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF"),
        ("zip", "a ZIP archive or an office document", rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"),
        ("gzip", "gzip data", rb"\x1f\x8b"),
        ("archive", "an archive", rb"7z\xbc\xaf\x27\x1c|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd"),
        ("document", "an office document", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|\{\\rtf"),
        ("program", "a program", rb"\x7fELF|MZ.{62}|\xca\xfe\xba\xbe|#!/"),
        ("multipart", "a multipart form, not the image inside it", rb"\s*--[^\r\n]+\r?\nContent-"),
        ("svg", "SVG", PROLOGUE + rb"<(?:!DOCTYPE svg|svg|[a-z]+:svg)"),
        (
            "html",
            "HTML",
            PROLOGUE + rb"<(?:!DOCTYPE html|html|head|body|title|script|meta)",
        ),
        ("xml", "XML", rb"\s*<(?:\?xml|[a-z][\w:.-]*[\s/>])"),
        ("data-url", "a data: URL, not the bytes of an image", rb"\s*[\"']?data:[\w.+/;=-]*,"),
        ("url", "a link, not the bytes of an image", rb"\s*[\"']?(?:https?|ftp|file|content|blob|s3|gs|ph|asset)://"),
        ("json", "JSON", rb"\s*[\[{]\s*(?:[\"\[{\]}0-9-]|true|false|null)"),
    )
)
"""Id, name in messages and first bytes of formats that are not decoded, in the order in which they are tried."""

RAW_PHOTOMETRY = frozenset({32803, 34892})
RAW_COMPRESSIONS = frozenset({32767, 32769, 32770, 34713, 34892, 65000, 65535})
DNG_VERSION, SUBFILE, COMPRESSION, PHOTOMETRY = 50706, 254, 259, 262

TEXT = re.compile(rb"[\t\n\f\r\x1b -~\x80-\xff]+")
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}$")
HEX = re.compile(rb"(?:0x)?((?:[0-9A-Fa-f]{2}){8,})")
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def with_usual(formats: Collection[str]) -> tuple[str, ...]:
    """Formats of catalog images: the usual ones, and those that callers may send."""
    return tuple(name for name in DECODED if name in USUAL_FORMATS or name in formats)


def check_decoders(formats: Collection[str]) -> None:
    """Raises `SightlineError` of kind CONFIGURATION when a package that one of the `formats` needs is missing."""
    for name, (module, package, remedy) in NEEDED.items():
        if name in formats and find_spec(module) is None:
            message = f"decode.formats has {name}, which needs {package}: {remedy}, or remove {name}"
            raise SightlineError(ErrorKind.CONFIGURATION, message)


def photo_format(photo: bytes, allowed: Collection[str] = USUAL_FORMATS) -> str:
    """The key of `DECODED` for the photo, which is one of `allowed`.

    Raises `SightlineError` of kind INVALID_IMAGE for every other file; its message names what the file is if known.
    """
    for name, pattern in DECODED.items():
        if pattern.match(photo):
            if name == "tiff" and is_raw(photo):
                raise unsupported("raw", "a raw camera file", allowed)
            if name not in allowed:
                raise unsupported(name, TITLES[name], allowed, f" (or allow {name} in the server's decode.formats)")
            return name
    start = photo[:SNIFFED]
    if not photo.strip(b"\0"):
        raise invalid("the photo is empty: all of its bytes are zero; send the whole file", "empty")
    for name, title, pattern in REFUSED:
        if pattern.match(start.removeprefix(BYTE_ORDER_MARKS[0])):
            raise unsupported(name, title, allowed)
    if encoding := encoded_as(start):
        raise invalid(f"the photo is {encoding} text of an image; send the decoded bytes", encoding)
    if is_text(start):
        name = "text"
        raise unsupported(name, name, allowed)
    raise invalid(f"the photo is not in a supported image format; {advice(allowed)}")


def unsupported(name: str, title: str, allowed: Collection[str], hint: str = "") -> SightlineError:
    """The error of a photo in a known format that is not decoded."""
    return invalid(f"the photo is {title}; {advice(allowed)}{hint}", name)


def advice(allowed: Collection[str]) -> str:
    """Advice to a caller whose format is not decoded."""
    titles = [title for name, title in TITLES.items() if name in allowed]
    listed = " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))
    return f"supported are {listed}; convert it in the app"


def is_raw(photo: bytes) -> bool:
    """Returns whether a TIFF is a camera's raw file, whose first image is a small preview or sensor data."""
    if photo[8:10] == b"CR":
        return True
    tags = {entry.tag: entry.value for entry in exif.entries(photo)}
    return (
        DNG_VERSION in tags
        or bool(tags.get(SUBFILE, 0) & 1)
        or tags.get(PHOTOMETRY) in RAW_PHOTOMETRY
        or tags.get(COMPRESSION) in RAW_COMPRESSIONS
    )


def encoded_as(start: bytes) -> str:
    """`base64` or `hex` when the file is the text of an image in that encoding; else nothing."""
    bare = b"".join(start.strip(b"\"' \t\r\n").split())
    if (digits := HEX.match(bare)) and is_image(bytes.fromhex(digits[1].decode())):
        return "hex"
    letters = bare[: len(bare) // 4 * 4]
    if BASE64.match(letters):
        try:
            plain = base64.b64decode(letters, altchars=b"-_" if re.search(rb"[-_]", letters) else None)
        except binascii.Error:
            return ""
        return "base64" if is_image(plain) else ""
    return ""


def is_image(start: bytes) -> bool:
    """Returns whether these are the first bytes of an image."""
    images = [*DECODED.values(), *(pattern for name, _, pattern in REFUSED if name == "jxl")]
    return any(pattern.match(start) for pattern in images)


def is_text(start: bytes) -> bool:
    """Returns whether the first bytes are those of a text in UTF-8, UTF-16 or a similar encoding."""
    return start.startswith(BYTE_ORDER_MARKS) or (len(start) > 1 and bool(TEXT.fullmatch(start)))
