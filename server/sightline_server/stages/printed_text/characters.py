"""The reader's answer -> lines of text. Pure.

Method: Graves and others, "Connectionist temporal classification", 2006, with the best character at each position: a
character counts once where it is named at positions that follow each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.printed_text_models import TextReaderSpec
from sightline_server.errors import ErrorKind, SightlineError

NO_CHARACTER = 0


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line as it was read, and the mean probability of its characters."""

    text: str
    confidence: float


def read_lines(answer: Mapping[str, NDArray[Any]], batch: int, spec: TextReaderSpec) -> list[ReadLine]:
    """The lines of the reader's answer to `batch` images.

    Raises `SightlineError` of kind MODEL_ANSWER when the shape is off or a value is not finite.
    """
    characters, probabilities = answer["CHARACTERS"], answer["PROBABILITIES"]
    if characters.shape != (batch, spec.steps) or probabilities.shape != characters.shape:
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the text reader's answer has the wrong shape")
    if not np.isfinite(probabilities).all():
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the text reader's answer is not finite")
    before = np.pad(characters[:, :-1], ((0, 0), (1, 0)), constant_values=NO_CHARACTER)
    named = (characters != NO_CHARACTER) & (characters != before)
    confidence = np.where(named, probabilities, 0).sum(axis=1) / np.maximum(named.sum(axis=1), 1)
    return [
        ReadLine(text_of(row[kept]), float(each)) for row, kept, each in zip(characters, named, confidence, strict=True)
    ]


def text_of(code_points: NDArray[np.int32]) -> str:
    """The text of some code points of Unicode; what is none is replaced."""
    return code_points.astype("<u4").tobytes().decode("utf-32-le", "replace")


def confident_text(lines: list[ReadLine], least: float, most: int) -> str:
    """The lines with a confidence of at least `least`, one below the other, at most `most` characters."""
    return "\n".join(line.text for line in lines if line.text.strip() and line.confidence >= least)[:most]
