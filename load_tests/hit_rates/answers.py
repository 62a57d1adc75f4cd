"""Answers to the photos of a measurement, as the similarity of each product and what each step added to it.

Rule: kept answers are those of photos that were made for measurements, and have no pixels, boxes, text or embeddings.
A line of the file is one photo, so that a measurement that was interrupted goes on where it ended.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from sightline_client.answers import Answer
from sightline_client.events import ReasonKind


@dataclass(frozen=True, slots=True)
class Candidate:
    """A product of an answer: its similarity, and the contribution of each reason by the name of its kind."""

    product_id: str
    similarity: float
    added: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to the photo `image` of the product `product_id`; `times` are milliseconds by stage."""

    image: str
    product_id: str
    kind: str
    candidates: tuple[Candidate, ...]
    times: Mapping[str, float]
    skipped: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: str, product_id: str, kind: str, answer: Answer) -> Self:
        """The similarities, contributions and times of `answer`."""
        candidates = tuple(
            Candidate(each.product.id, each.similarity, {r.kind.name: r.contribution for r in each.reasons})
            for found in answer.objects
            for each in found.products
        )
        done = answer.done
        if done is None:
            return cls(image, product_id, kind, candidates, {})
        times = {**done.timings.stages, "total": done.timings.total_ms}
        return cls(image, product_id, kind, candidates, times, tuple(str(step) for step in done.skipped))

    @property
    def refused(self) -> bool:
        """True where nothing was searched."""
        return not self.candidates

    def rank(self, weights: Mapping[ReasonKind, float]) -> int | None:
        """The rank of the right product, from 1; None where it is not in the answer.

        A contribution counts with the factor in `weights`; those of other reasons do not count.
        """
        factors = {kind.name: factor for kind, factor in weights.items()}
        scores = {
            each.product_id: each.similarity + sum(factors.get(kind, 0.0) * part for kind, part in each.added.items())
            for each in self.candidates
        }
        own = scores.get(self.product_id)
        return None if own is None else 1 + sum(score > own for score in scores.values())


def line_of(asked: Asked) -> str:
    """The line of the file for one photo."""
    return json.dumps(asdict(asked)) + "\n"


def parse_line(line: str) -> Asked:
    """The photo of one line."""
    fields = json.loads(line)
    candidates = tuple(Candidate(**each) for each in fields.pop("candidates"))
    return Asked(**{**fields, "candidates": candidates, "skipped": tuple(fields["skipped"])})


def read_answers(path: Path) -> list[Asked]:
    """The photos in the file, none without one. A last line that was cut off by an interruption is ignored."""
    lines: Iterable[str] = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else ()
    return [parse_line(line) for line in lines if line.endswith("\n")]
