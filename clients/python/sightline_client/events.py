"""The typed events of a search, in order: Accepted, Detected, one ObjectResults or ObjectFailure per object, Done.

With `look_closer`, a second Detected with further objects and the events of these come before Done.

Rule: plain frozen values without protobuf or gRPC, so that they can be kept, compared, pickled and made in tests.
Times are milliseconds. The objects and products in them are defined in `sightline_client.items`.
"""

from dataclasses import dataclass, fields
from enum import Enum

from sightline_client.items import (
    Box,
    DetectedObject,
    MatchLevel,
    ObjectSource,
    Point,
    Product,
    RankedProduct,
    Reason,
    ReasonKind,
    Region,
    TapBox,
)

__all__ = [
    "Accepted",
    "Box",
    "Detected",
    "DetectedObject",
    "Done",
    "Event",
    "FailureReason",
    "FilterPlan",
    "FilterPlanKind",
    "Lane",
    "MatchLevel",
    "Notice",
    "ObjectFailure",
    "ObjectResults",
    "ObjectSource",
    "Point",
    "Product",
    "RankedProduct",
    "Reason",
    "ReasonKind",
    "Region",
    "SkippedStep",
    "StageTimings",
    "TapBox",
]


class Lane(Enum):
    """The priority of a call when the server is busy."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class FailureReason(Enum):
    """The reason why one object could not be searched."""

    UNKNOWN = "unknown"
    MODEL_ANSWER = "model_answer"
    INTERNAL = "internal"
    PERSON = "person"
    """The box, tap or crop is mostly on a person, and people are not searched."""
    TOO_LARGE = "too_large"
    """The products take more than 4 MiB; ask for fewer (`max_products`)."""


class Notice(Enum):
    """A message for the person who sent the photo, which a caller may want to show."""

    UNKNOWN = "unknown"
    PERSON_ONLY = "person_only"
    """The photo shows people and no product, so nothing was searched."""


class SkippedStep(Enum):
    """A step of a search that the server left out."""

    UNKNOWN = "unknown"
    CODES = "codes"
    """Barcodes and QR codes were not read: the deadline was too near, or the reader failed."""
    LOCAL_FEATURES = "local_features"
    """Local features of an object were not compared: the deadline was too near, or the comparison failed."""
    LOOK_CLOSER = "look_closer"
    """There was no second round: no time, a busy server, or the detector failed."""
    PRINTED_TEXT = "printed_text"
    """The printed text of an object was not read: no time, a busy server, or a model failed."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server has taken the call; its log names `request_id` with everything about it.

    `catalog_revision` of `catalog` answers the call, to its end. Both are empty from servers before 0.2.
    """

    request_id: str
    catalog: str = ""
    catalog_revision: str = ""


@dataclass(frozen=True, slots=True)
class Detected:
    """All objects, best first; none when the photo shows people and no product (`Done.notice`).

    `redacted` is the number of people who were greyed out before anything was searched. With `further`, the objects and
    the people are those that only the second round has found.
    """

    objects: tuple[DetectedObject, ...]
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
    """Milliseconds by stage. A stage includes its wait for a slot in a batch; that wait alone is `queue_ms`.

    Objects go through stages side by side. Time that they share counts once in each stage, and the stages may add up to
    more than `total_ms`.
    """

    decode_ms: float = 0.0
    detect_ms: float = 0.0
    crop_ms: float = 0.0
    embed_ms: float = 0.0
    search_ms: float = 0.0
    rank_ms: float = 0.0
    queue_ms: float = 0.0
    total_ms: float = 0.0
    codes_ms: float = 0.0
    """Reading of barcodes, while the detector runs."""
    local_features_ms: float = 0.0
    """Comparing local features with those of the nearest products."""
    look_closer_ms: float = 0.0
    """Looking for further objects in parts of the photo; its waits for the detector are not in `queue_ms`."""
    printed_text_ms: float = 0.0
    """Reading and comparing printed text; its waits for the models are not in `queue_ms`."""
    text_ms: float = 0.0
    """Making the embedding of the text, at the same time as the stages before `search`."""

    @property
    def stages(self) -> dict[str, float]:
        """Stage -> its milliseconds, in order."""
        names = [each.name.removesuffix("_ms") for each in fields(self)]
        # The newest fields are the last ones, for callers who name none.
        words, text, closer, features, codes = (names.pop() for _ in range(5))
        names.insert(names.index("search"), words)
        rank = names.index("rank")
        names[rank : rank + 1] = [features, text, "rank", closer]
        names.insert(1, codes)
        return {name: getattr(self, f"{name}_ms") for name in names if name not in ("queue", "total")}


class FilterPlanKind(Enum):
    """The way in which the server searched under a filter; each gives what matches, and nothing else."""

    UNKNOWN = "unknown"
    NO_MATCH = "no_match"
    """No product matches."""
    ALL = "all"
    """Every product matches."""
    GATHER = "gather"
    """Few match: their vectors were compared by themselves."""
    SELECTOR = "selector"
    """The index skipped what does not match."""
    EXACT = "exact"
    """Every vector that matches was compared."""


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """The way of a search under a filter, and how many products of the catalog and images match it."""

    kind: FilterPlanKind
    products: int
    images: int


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a search that succeeded; `notice` is None when there is no message.

    `applied_filter` is the filter as the server applied it, in the form that `parse_filter` reads; empty without one.
    """

    timings: StageTimings
    catalog_revision: str
    detector: str
    embedder: str
    request_id: str
    applied_filter: str = ""
    notice: Notice | None = None
    catalog: str = ""
    filter_plan: FilterPlan | None = None
    """The way in which the server applied the filter; None without one."""
    skipped: tuple[SkippedStep, ...] = ()
    """Steps that the search was to take and did not."""
    text_weight: float = 0.0
    """The weight of the text in this search; 0 without one."""


Event = Accepted | Detected | ObjectResults | ObjectFailure | Done
