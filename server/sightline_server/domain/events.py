"""The events of a search, in order: Accepted, Detected, one ObjectResults or ObjectFailure per object, Done.

With a second round, a second Detected and the events of its objects come before Done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from sightline_server.domain.filters import AppliedFilter
from sightline_server.domain.items import PhotoObject, RankedProduct


class FailureReason(Enum):
    """The reason why one object could not be searched."""

    MODEL_ANSWER = "model_answer"
    INTERNAL = "internal"
    PERSON = "person"
    TOO_LARGE = "too_large"


class Notice(Enum):
    """A message for the person who sent the photo, which a caller may want to show."""

    PERSON_ONLY = "person_only"


class SkippedStep(Enum):
    """A step of a search that was left out, without which the answer is still complete."""

    CODES = "codes"
    LOCAL_FEATURES = "local_features"
    PRINTED_TEXT = "printed_text"
    LOOK_CLOSER = "look_closer"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The call passed admission. The revision of the catalog that it leased answers it to its end."""

    request_id: str
    catalog: str
    catalog_revision: str


@dataclass(frozen=True, slots=True)
class Detected:
    """Every object that will be searched, best first, and the number of people who were greyed out.

    With `further`, the objects and the people that only the second round has found.
    """

    objects: tuple[PhotoObject, ...]
    redacted: int = 0
    further: bool = False


@dataclass(frozen=True, slots=True)
class ObjectResults:
    """The ranked products of one object, best first."""

    object_id: str
    products: tuple[RankedProduct, ...]


@dataclass(frozen=True, slots=True)
class ObjectFailure:
    """One object that could not be searched; the others go on."""

    object_id: str
    reason: FailureReason
    message: str


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Seconds of one call by the name of each stage; `queue` is the part of them spent waiting for a slot in a batch.

    Objects go through stages side by side. Time that they share counts once in each stage, and the stages may add up to
    more than `total`.
    """

    stages: Mapping[str, float]
    queue: float
    total: float


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a search that succeeded."""

    timings: StageTimings
    catalog: str
    catalog_revision: str
    detector: str
    embedder: str
    request_id: str
    applied_filter: AppliedFilter | None = None
    notice: Notice | None = None
    skipped: tuple[SkippedStep, ...] = ()
    text_weight: float = 0.0


Event = Accepted | Detected | ObjectResults | ObjectFailure | Done
