"""The outcome of a build, and its progress until then."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sightline_server.index.schema import CatalogFacts
from sightline_server.ingest.feed_rows import Problem, ProblemKind
from sightline_server.ingest.guard import Losses


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The outcome of a build: products and images in the catalog, every problem in the feed's order, and the losses."""

    facts: CatalogFacts
    problems: tuple[Problem, ...]
    losses: Losses = field(default_factory=Losses)
    same_images: int = 0
    """The least number of links that lead to the most frequent image."""
    counted_images: int | None = None
    """The number of images in the catalog, where that is not the number of its vectors."""

    @property
    def products(self) -> int:
        """Products in the catalog."""
        return self.facts.products

    @property
    def images(self) -> int:
        """Images in the catalog; they may have more vectors."""
        return self.facts.vectors if self.counted_images is None else self.counted_images

    @property
    def skipped(self) -> tuple[Problem, ...]:
        """The rows that are not in the catalog, one problem each."""
        return tuple(problem for problem in self.problems if problem.skipped)

    @property
    def skipped_by_kind(self) -> Counter[ProblemKind]:
        """The number of skipped rows by the kind of their problem."""
        return Counter(problem.kind for problem in self.skipped)


@dataclass(frozen=True, slots=True)
class Progress:
    """Receives the progress of a build: `rows` of the feed done so far, each problem once, and each wait for a host."""

    rows: Callable[[int], None] = lambda count: None
    problem: Callable[[Problem], None] = lambda problem: None
    waiting: Callable[[str], None] = lambda text: None
