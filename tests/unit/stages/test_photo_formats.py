"""Files in formats that are not decoded: the refusal names the format and holds nothing of the file."""

import base64
import io
import struct
import time
import zipfile

import pytest
from PIL import Image

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.decode import DecodeLimits, decode
from tests.support.pictures import encode, gradient

LIMITS = DecodeLimits(max_bytes=1 << 20, max_pixels=1_000_000, max_edge=512)
SECRET = b"SECRET-OF-THE-PHOTO"


def refusal(photo: bytes) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        decode(photo, LIMITS)
    assert caught.value.kind is ErrorKind.INVALID_IMAGE
    assert caught.value.field == "photo"
    assert "SECRET" not in caught.value.message + repr(dict(caught.value.metadata))
    return caught.value


def brand(name: bytes, *others: bytes) -> bytes:
    """The first box of an ISO media file."""
    body = name + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + struct.pack(">I", 100) + b"meta" + SECRET


def tiff(*tags: tuple[int, int], order: str = "<") -> bytes:
    """A TIFF directory of 16-bit tags."""
    marks = b"II*\0" if order == "<" else b"MM\0*"
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(tags))
    return marks + struct.pack(order + "IH", 8, len(tags)) + entries + bytes(4) + SECRET


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("photo.jpg", SECRET)
    return packed.getvalue()


JPEG = encode(gradient())
SIZE = ((256, 64), (257, 64))
FILES: dict[str, tuple[str, str, bytes]] = {
    "HEIC of an iPhone": ("heic", "HEIC", brand(b"heic", b"mif1", b"heic")),
    "HEIC, brand mif1": ("heic", "HEIC", brand(b"mif1", b"heic")),
    "HEIC sequence": ("heic", "HEIC", brand(b"hevc")),
    "HEIC of ten bits": ("heic", "HEIC", brand(b"heix")),
    "AVIF": ("avif", "AVIF", brand(b"avif", b"mif1", b"miaf")),
    "AVIF, brand mif1": ("avif", "AVIF", brand(b"mif1", b"avif", b"miaf")),
    "AVIF of Pillow": ("avif", "AVIF", encode(gradient(), "AVIF")),
    "AVIF sequence": ("avif", "AVIF", brand(b"avis")),
    "JPEG XL codestream": ("jxl", "JPEG XL", b"\xff\x0a\x7c" + SECRET),
    "JPEG XL container": ("jxl", "JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n" + SECRET),
    "JPEG 2000": ("jpeg2000", "JPEG 2000", encode(gradient(), "JPEG2000")),
    "live photo": ("mov", "QuickTime", brand(b"qt  ")),
    "old QuickTime": ("mov", "QuickTime", struct.pack(">I", 8) + b"wide" + struct.pack(">I", 99) + b"mdat" + SECRET),
    "MP4": ("mp4", "MP4", brand(b"isom", b"mp42")),
    "3GP": ("mp4", "MP4", brand(b"3gp5")),
    "WebM": ("webm", "WebM", b"\x1a\x45\xdf\xa3" + SECRET),
    "AVI": ("avi", "AVI", b"RIFF\0\0\0\0AVI LIST" + SECRET),
    "CR2": ("raw", "raw", b"II*\0\x10\0\0\0CR\x02\0" + SECRET),
    "CR3": ("cr3", "raw", brand(b"crx ")),
    "DNG": ("raw", "raw", tiff(*SIZE, (50706, 1))),
    "NEF": ("raw", "raw", tiff(*SIZE, (254, 1), (259, 1), order=">")),
    "ARW": ("raw", "raw", tiff(*SIZE, (254, 1), (259, 6))),
    "raw sensor data": ("raw", "raw", tiff(*SIZE, (262, 32803))),
    "PEF": ("raw", "raw", tiff(*SIZE, (259, 65535), order=">")),
    "ORF": ("raw", "raw", b"IIRO\x08\0\0\0" + SECRET),
    "RW2": ("raw", "raw", b"IIU\0\x18\0\0\0" + SECRET),
    "RAF": ("raw", "raw", b"FUJIFILMCCD-RAW 0201" + SECRET),
    "PSD": ("psd", "Photoshop", b"8BPS\0\1" + SECRET),
    "EPS": ("eps", "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n" + SECRET),
    "EPS with a preview": ("eps", "PostScript", b"\xc5\xd0\xd3\xc6" + SECRET),
    "ICO": ("ico", "icon", encode(gradient(), "ICO")),
    "ICNS": ("ico", "icon", b"icns\0\0\1\0" + SECRET),
    "PDF": ("pdf", "PDF", b"%PDF-1.7\n" + SECRET),
    "PDF behind a line": ("pdf", "PDF", b"\r\nsomething\n%PDF-1.4\n" + SECRET),
    "SVG": ("svg", "SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>' + SECRET),
    "SVG of an editor": ("svg", "SVG", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- by SECRET -->\n<svg width='1'>"),
    "SVG with a doctype": ("svg", "SVG", b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC>' + SECRET),
    "HTML": ("html", "HTML", b"<!DOCTYPE html>\n<html><head><title>404</title>" + SECRET),
    "HTML without a doctype": ("html", "HTML", b"\n  <HTML><body>" + SECRET),
    "XML": ("xml", "XML", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>" + SECRET),
    "JSON": ("json", "JSON", b'{"error": "SECRET"}'),
    "JSON list": ("json", "JSON", b'[{"photo": "SECRET"}]'),
    "text": ("text", "text", b"hello, this is " + SECRET),
    "UTF-16 text": ("text", "text", "hello SECRET".encode("utf-16")),
    "link": ("url", "link", b"https://shop.example/" + SECRET + b".jpg"),
    "link of a phone": ("url", "link", b"content://media/external/images/" + SECRET),
    "base64": ("base64", "base64", base64.b64encode(JPEG)),
    "base64 in lines": ("base64", "base64", base64.encodebytes(JPEG)),
    "base64 for links": ("base64", "base64", base64.urlsafe_b64encode(encode(gradient(), "PNG"))),
    "base64 in quotes": ("base64", "base64", b'"' + base64.b64encode(encode(gradient(), "WEBP")) + b'"'),
    "base64 of HEIC": ("base64", "base64", base64.b64encode(brand(b"heic"))),
    "hex": ("hex", "hex", JPEG.hex().encode()),
    "data: URL": ("data-url", "data: URL", b"data:image/jpeg;base64," + base64.b64encode(JPEG)),
    "form": ("multipart", "form", b"------WebKitFormBoundary7\r\nContent-Disposition: form-data\r\n\r\n" + JPEG),
    "ZIP": ("zip", "ZIP", zipped()),
    "gzip": ("gzip", "gzip", b"\x1f\x8b\x08\0" + SECRET),
    "zeros": ("empty", "all of its bytes are zero", bytes(5000)),
    "one zero": ("empty", "all of its bytes are zero", b"\0"),
    "PPM": ("pnm", "PNM", encode(gradient(), "PPM")),
    "program": ("program", "program", b"\x7fELF\x02\x01" + SECRET),
}


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_format_is_named_in_the_refusal(name: str) -> None:
    known, title, photo = FILES[name]
    error = refusal(photo)
    assert error.metadata == {"format": known}
    assert title in error.message
    assert ("convert it in the app" in error.message) != (known in ("base64", "hex", "empty"))


def test_the_refusal_of_a_phones_format_says_what_to_do() -> None:
    assert refusal(brand(b"heic")).message == (
        "the photo is HEIC; supported are JPEG, PNG, WebP, GIF, BMP and TIFF; convert it in the app "
        "(or allow heic in the server's decode.formats)"
    )


@pytest.mark.parametrize(
    "photo", [b"\x9d\x01\x02" + SECRET + b"\0\x01", b"\x07", b"TGA\0\0" + SECRET, b"BMW M3 SECRET"]
)
def test_an_unknown_format_is_refused_without_a_name(photo: bytes) -> None:
    error = refusal(photo)
    assert error.metadata in ({}, {"format": "text"})
    assert "convert it in the app" in error.message


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_damaged_photo_of_a_supported_format_is_named_too(form: str) -> None:
    error = refusal(encode(gradient(), form)[:60])
    assert error.metadata == {"format": form.lower()}
    assert "truncated" in error.message


@pytest.mark.parametrize("tags", [(), ((254, 0),), ((262, 2), (259, 5)), ((254, 2),)])
def test_an_ordinary_tiff_is_not_taken_for_raw(tags: tuple[tuple[int, int], ...]) -> None:
    assert refusal(tiff(*SIZE, *tags)).metadata == {"format": "tiff"}


def test_every_tiff_that_pillow_writes_is_decoded() -> None:
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        photo = encode(gradient(), "TIFF", compression=compression)
        assert decode(photo, LIMITS).pixels.shape == (32, 48, 3)
    pages = encode(gradient(), "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    assert decode(pages, LIMITS).pixels.shape == (32, 48, 3)


@pytest.mark.parametrize(
    "photo",
    [
        *(b"<!---->" * 999, b"<?xml?>" + b"<!-- -->" * 999, b"<?xml" * 999, b"<!--" * 9999, b" " * 99_999, b"[" * 9999),
        *(b"A" * 99_999, b"--" * 9999, brand(b"mif1", *([b"abcd"] * 999)), b"data:" + b"a" * 9999, b"\x9d" * 99_999),
    ],
)
def test_a_name_is_found_at_once(photo: bytes) -> None:
    started = time.process_time()
    refusal(photo)
    assert time.process_time() - started < 0.05


def test_a_bitmap_of_every_header_is_known() -> None:
    for size in (12, 40, 52, 56, 64, 108, 124):
        photo = b"BM" + bytes(12) + struct.pack("<I", size) + bytes(200)
        assert refusal(photo).metadata == {"format": "bmp"}
