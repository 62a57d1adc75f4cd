"""The stages of a search, in order: the one list from which timings, metrics and messages derive.

Rule: data only. A new stage is added here, to the proto's StageTimings, and in the file that runs it.
"""

from dataclasses import dataclass, field
from enum import Enum, auto


class Wait(Enum):
    """The resource that the work of a stage waits for before it begins."""

    NOTHING = auto()
    THREAD = auto()
    BATCH = auto()


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name in timings, metrics and traces, what its work waits for, and whether an event follows it.

    An `optional` stage is left out unless the settings, the catalog or the request turn it on. There is no default, so
    that each new stage states it; tests compare it with the stages of a search without options.
    """

    name: str
    waits_for: Wait
    optional: bool = field(kw_only=True)
    sends: bool = False


DECODE = Stage("decode", Wait.THREAD, optional=False, sends=True)
CODES = Stage("codes", Wait.THREAD, optional=True)
"""Reads barcodes and QR codes while the detector runs, in catalogs with a GTIN."""
DETECT = Stage("detect", Wait.BATCH, optional=False, sends=True)
CROP = Stage("crop", Wait.THREAD, optional=False)
EMBED = Stage("embed", Wait.BATCH, optional=False)
TEXT = Stage("text", Wait.BATCH, optional=True)
"""Makes the embedding of a text, from the begin of the call on, at the same time as the stages before `search`."""
SEARCH = Stage("search", Wait.BATCH, optional=False)
LOCAL_FEATURES = Stage("local_features", Wait.THREAD, optional=True)
PRINTED_TEXT = Stage("printed_text", Wait.THREAD, optional=True)
"""Waits for batches of two models as well, which do not count as waits."""
RANK = Stage("rank", Wait.NOTHING, optional=False, sends=True)
LOOK_CLOSER = Stage("look_closer", Wait.THREAD, optional=True, sends=True)
"""Finds further objects after the first answer; they go through the stages from `crop` on."""

STAGES = (DECODE, CODES, DETECT, CROP, EMBED, TEXT, SEARCH, LOCAL_FEATURES, PRINTED_TEXT, RANK, LOOK_CLOSER)
"""Every stage, in the order in which an object goes through them."""

STAGE_NAMES = tuple(stage.name for stage in STAGES)
