"""The text of a search -> token ids, and the refusals of texts.

Rule: an error names the field and a limit, and nothing of what the person wrote.
"""

import math
from collections.abc import Callable

from sightline.v1 import lens_service_pb2
from sightline_models.tokenizer import NoTokensError
from sightline_server.domain.request import DEFAULT_TEXT_WEIGHT, MAX_TEXT_BYTES, TextQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.refusals import invalid
from sightline_server.search.text_encoder import TextEncoder

Request = lens_service_pb2.SearchRequest | lens_service_pb2.SearchEmbeddingsRequest


def to_text(request: Request, encoder_of: Callable[[], TextEncoder | None]) -> TextQuery | None:
    """The text of a request as its search takes it; None where the request has none.

    `encoder_of` gives the text encoder of its catalog; it is not called without a text. Raises `SightlineError`:
    TEXT_NOT_SUPPORTED where there is none, INVALID_REQUEST that names the field at fault.
    """
    if not request.HasField("text"):
        if request.HasField("text_weight"):
            raise invalid("text_weight", "it is for requests with a text")
        return None
    weight = to_weight(request.text_weight) if request.HasField("text_weight") else DEFAULT_TEXT_WEIGHT
    size = len(request.text.encode())
    if size > MAX_TEXT_BYTES:
        raise invalid("text", f"{size} bytes, the limit is {MAX_TEXT_BYTES}")
    if not request.text.strip():
        raise invalid("text", "it is empty; say what is wanted, or leave it out")
    encoder = encoder_of()
    if encoder is None:
        message = "text: the embedder of this catalog has no text encoder; send the search without it"
        raise SightlineError(ErrorKind.TEXT_NOT_SUPPORTED, message, field="text")
    try:
        query = encoder.query(request.text, weight)
    except NoTokensError:
        raise invalid("text", "the text encoder has no tokens for it; write it in other characters") from None
    if query is None:
        raise invalid("text", f"more than {encoder.spec.length} tokens, which the text encoder takes; shorten it")
    return query


def to_weight(value: float) -> float:
    """The weight of a text, in 0..1. Raises `SightlineError`."""
    if not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise invalid("text_weight", "must be 0 to 1")
    return value
