"""A JSON document -> the texts of its objects, a few in memory at a time.

Rule: an object ends where its brackets close, outside of strings. Anything but one comma between two objects is an
error of the document.
"""

import io
import json
import re
from collections.abc import Iterator

from sightline_server.errors import SightlineError
from sightline_server.ingest.feeds.records import MAX_RECORD_CHARS, refused

CHUNK_CHARS = 64 * 1024
KEYS = "products|items|resources|entries|offers|results|records|data|rows|productInputs|entry|item"
PLAIN_MEMBER = r'\s*"[^"\\]*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[-+.\w]+)\s*,'
AROUND = r'\s*"(?:data|result|response|feed|catalog|channel)"\s*:\s*\{'
HOLDER = re.compile(rf'\s*\{{(?:{PLAIN_MEMBER}|{AROUND}){{0,20}}\s*"(?:{KEYS})"\s*:\s*\[\s*[{{\]]', re.DOTALL)
"""The beginning of an object that holds the list of products, as far as the list's first object."""

NEXT_PAGE = re.compile(r'"nextPageToken"\s*:\s*"[^"]')
TOO_LONG = -1

SIGNS = re.compile(r'["{}\[\]]')
IN_STRING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)


def read_document(text: io.TextIOWrapper, name: str) -> Iterator[tuple[int, str]]:
    """The number, from 1, and the text of each object in the document's list; or the one object that it is.

    The text of an object that is too long is empty. Raises `SightlineError` where the document is not valid JSON.
    """
    window = Window(text, name)
    holder = HOLDER.match(window.text)
    if holder is None and window.next_sign() == "{":
        yield 1, window.next_object(1)
        window.expect_end(1)
        return
    window.at = holder.end() - 1 if holder else window.at + 1
    head = window.text[: window.at]
    number = 0
    while window.next_sign() != "]" or number:
        number += 1
        yield number, window.next_object(number)
        sign = window.next_sign()
        if sign == "]":
            break
        if sign != ",":
            raise window.broken(number)
        window.at += 1
    if holder:
        window.expect_closed(head, number)
    else:
        window.at += 1
        window.expect_end(number)


class Window:
    """The part of a document that is in memory: `text`, of which everything before `at` is done with."""

    def __init__(self, source: io.TextIOWrapper, name: str) -> None:
        self._source = source
        self._name = name
        self.text = source.read(CHUNK_CHARS)
        self.at = 0

    def _more(self, keep_from: int) -> bool:
        """Reads on and forgets what is before `keep_from`; False at the end. `at` keeps its character."""
        part = self._source.read(CHUNK_CHARS)
        self.text = self.text[keep_from:] + part
        self.at -= keep_from
        return bool(part)

    def next_sign(self) -> str:
        """The next character that is not blank, at which `at` then is; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text) or not self._more(self.at):
                return self.text[self.at : self.at + 1]

    def next_object(self, number: int) -> str:
        """Takes the next object; empty where it is too long. Raises `SightlineError` where it is not whole."""
        if self.next_sign() != "{":
            raise self.broken(number)
        start = self.at
        self.at += 1
        open_signs = ["{"]
        while open_signs:
            sign = SIGNS.search(self.text, self.at)
            self.at = sign.end() if sign else len(self.text)
            if sign is None:
                start = self._grow(start, number)
            elif sign[0] == '"':
                start = self._skip_string(start, number)
            elif sign[0] in "{[":
                open_signs.append(sign[0])
            elif open_signs.pop() + sign[0] not in ("{}", "[]"):
                raise self.broken(number)
        return "" if start == TOO_LONG else self.text[start : self.at]

    def _skip_string(self, start: int, number: int) -> int:
        """Moves behind the string that begins before `at`; returns where the object begins then."""
        while True:
            match = IN_STRING.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.text.startswith('"', self.at):
                self.at += 1
                return start
            start = self._grow(start, number)

    def _grow(self, start: int, number: int) -> int:
        """Reads on within an object that begins at `start`; returns where it begins then, or `TOO_LONG`."""
        if start != TOO_LONG and self.at - start > MAX_RECORD_CHARS:
            start = TOO_LONG
        keep_from = self.at if start == TOO_LONG else start
        if not self._more(keep_from):
            raise self.broken(number)
        return TOO_LONG if start == TOO_LONG else 0

    def expect_end(self, number: int) -> None:
        """Raises `SightlineError` where the document goes on."""
        if self.next_sign():
            raise self.broken(number)

    def expect_closed(self, head: str, number: int) -> None:
        """Raises `SightlineError` where `head` and what follows the objects are not JSON, or announce further pages."""
        while len(self.text) - self.at <= MAX_RECORD_CHARS and self._more(self.at):
            pass
        rest = self.text[self.at :]
        try:
            json.loads(head + rest)
        except (ValueError, RecursionError) as error:
            raise self.broken(number) from error
        if NEXT_PAGE.search(rest):
            raise refused(f"{self._name} is one page of several (it has a nextPageToken); join the pages first")

    def broken(self, number: int) -> SightlineError:
        """The error of a document that is not valid JSON at its object `number`."""
        return refused(f"{self._name} is not valid JSON: object {number} or what follows it is broken or cut off")
