"""The specifications of the models that read printed text, as `specs.py` reads those of the others.

    text_detector  IMAGES UINT8 [B,H,W,3] -> TEXT UINT8 [B,H,W]
    text_reader    LINES  UINT8 [B,h,w,3] -> CHARACTERS INT32 [B,T], PROBABILITIES FP32 [B,T]

Rule: as there; a model that lacks a tensor of the contract is refused.
"""

from collections.abc import Mapping
from typing import Any

from sightline_server.domain.preprocess import DETECTOR_PREPROCESS, EMBEDDER_PREPROCESS
from sightline_server.domain.printed_text_models import TEXT_DETECTOR, TEXT_READER, TextDetectorSpec, TextReaderSpec
from sightline_server.triton.specs import Contract, ServedModel, Tensor, check, preprocess, served_facts

TEXT_DETECTOR_CONTRACT = Contract(
    (Tensor("IMAGES", "UINT8", ("B", "H", "W", 3)),),
    (Tensor("TEXT", "UINT8", ("B", "H", "W")),),
)
TEXT_READER_CONTRACT = Contract(
    (Tensor("LINES", "UINT8", ("B", "H", "W", 3)),),
    (Tensor("CHARACTERS", "INT32", ("B", "T")), Tensor("PROBABILITIES", "FP32", ("B", "T"))),
)


def read_text_detector(
    name: str, metadata: Mapping[str, Any], config: Mapping[str, Any], sha256: str
) -> TextDetectorSpec:
    """The spec of the model that finds text. Raises CONFIGURATION when it does not keep the contract."""
    sizes = check(name, TEXT_DETECTOR_CONTRACT, metadata)
    return TextDetectorSpec(
        **served_facts(name, metadata, config, sha256),
        height=sizes["H"],
        width=sizes["W"],
        preprocess=preprocess(name, config, sizes, DETECTOR_PREPROCESS),
    )


def read_text_reader(name: str, metadata: Mapping[str, Any], config: Mapping[str, Any], sha256: str) -> TextReaderSpec:
    """The spec of the model that reads text. Raises CONFIGURATION when it does not keep the contract."""
    sizes = check(name, TEXT_READER_CONTRACT, metadata)
    return TextReaderSpec(
        **served_facts(name, metadata, config, sha256),
        height=sizes["H"],
        width=sizes["W"],
        steps=sizes["T"],
        preprocess=preprocess(name, config, sizes, EMBEDDER_PREPROCESS),
    )


PRINTED_TEXT_MODELS: tuple[ServedModel[Any], ...] = (
    ServedModel(TEXT_DETECTOR, TEXT_DETECTOR_CONTRACT, read_text_detector),
    ServedModel(TEXT_READER, TEXT_READER_CONTRACT, read_text_reader),
)
"""The models that read printed text."""
