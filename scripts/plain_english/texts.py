"""The texts of a source file that people read: prose of documents, comments, docstrings and messages.

Rule: code is no prose. What is between backticks, in a fenced block, in a link's target or in the braces of a format
string is replaced by blanks of the same length, so that line numbers stay right.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IDENTIFIER = re.compile(r"[\w./:-]*")
CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)\s]*\)|https?://\S+|\{[^{}\n]*\}|%\([^)]*\)", re.DOTALL)
LINE_COMMENT = {
    ".proto": re.compile(r"//(.*)$"),
    ".sh": re.compile(r"(?:^|\s)#(.*)$"),
    ".toml": re.compile(r"(?:^|\s)#(.*)$"),
    ".pbtxt": re.compile(r"(?:^|\s)#(.*)$"),
    "Makefile": re.compile(r"(?:^|\s)##?(.*)$"),
}
PROSE = (".md", ".yml", ".html")
STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of prose that begins on `line`; `is_docstring` also for the string below a field."""

    line: int
    content: str
    is_docstring: bool = False


def texts_of(path: Path) -> Iterator[Text]:
    """The texts of a file, without code; none for kinds of files that are not read."""
    if path.suffix == ".py":
        yield from python_texts(path.read_text(encoding="utf-8"))
    elif path.suffix in PROSE:
        yield Text(1, without_code(path.read_text(encoding="utf-8")))
    elif comment := LINE_COMMENT.get(path.suffix) or LINE_COMMENT.get(path.name):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if match := comment.search(line):
                yield Text(number, without_code(match[1]))


def python_texts(source: str) -> Iterator[Text]:
    """Comments, docstrings and strings of more than one word."""
    docstrings = docstring_lines(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], without_code(token.string.lstrip("#")))
        elif token.type in STRINGS:
            content = without_code(token.string)
            if not IDENTIFIER.fullmatch(content.strip("\"'rbfuRBFU")):
                yield Text(token.start[0], content, token.start[0] in docstrings)


def docstring_lines(source: str) -> set[int]:
    """Lines on which a docstring begins: of a module, class or function, and the string below a field."""
    strings = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr))
    values = (node.value for node in strings)
    return {value.lineno for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}


def without_code(text: str) -> str:
    """`text` with each span of code blanked out; line breaks stay."""
    return CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
