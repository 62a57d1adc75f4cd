"""The text of a search -> its embedding, by the text encoder of one embedder.

Rule: the text itself is here for as long as its tokens are made, in no field, error or log; a search has its tokens.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.batching.batcher import MicroBatcher
from sightline_server.domain.items import EmbeddedObject
from sightline_server.domain.models import TextEncoderSpec
from sightline_server.domain.request import SearchTerms, TextQuery
from sightline_server.domain.stages import TEXT
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.combine import combined
from sightline_server.stages.embed import usable
from sightline_server.stages.uncancelled import cancelled
from sightline_server.telemetry.stopwatch import Stopwatch

Tokens = NDArray[np.int64]
TextsBatcher = MicroBatcher[Tokens, NDArray[np.float32]]


class Tokenizer(Protocol):
    """Makes token ids of texts."""

    def encode(self, text: str) -> Tokens | None:
        """The token ids int64 [L] of a text; None for a text that has more tokens. Takes some microseconds.

        Raises `NoTokensError` for a text that has none.
        """


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """The text encoder of the embedder with the identity `embedder`; its batcher is `texts`."""

    embedder: str
    spec: TextEncoderSpec
    tokenizer: Tokenizer
    texts: TextsBatcher

    def query(self, text: str, weight: float) -> TextQuery | None:
        """The text as a search takes it; None for a text of too many tokens. Raises `NoTokensError`."""
        tokens = self.tokenizer.encode(text)
        return None if tokens is None else TextQuery(tokens, weight, self.embedder)

    async def encode(self, query: SearchTerms, text: TextQuery, watch: Stopwatch) -> NDArray[np.float32]:
        """The embedding float32 [D] of a text. Raises `SightlineError`, MODEL_ANSWER for one that is not usable."""
        with watch.step(TEXT) as step:
            answer = await self.texts.submit(
                [text.tokens], deadline=query.deadline, lane=query.lane, on_start=step.runs
            )
        if not usable(answer.results[0]):
            raise SightlineError(ErrorKind.MODEL_ANSWER, "the text encoder's answer is not finite")
        return answer.results[0]


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The text of one call, whose embedding is on its way since the call began; `weight` is the text's, in 0..1."""

    weight: float
    vector: asyncio.Task[NDArray[np.float32]] = field(repr=False)

    @classmethod
    def begin(cls, encoder: TextEncoder | None, query: SearchTerms, text: TextQuery, watch: Stopwatch) -> "EncodedText":
        """Begins to encode the text of a query, which was checked for the embedder of a catalog.

        Raises `SightlineError` where the catalog has got another embedder since.
        """
        if encoder is None or encoder.embedder != text.embedder:
            message = "the catalog has just got another embedder; send the search again"
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=0.1)
        return cls(text.weight, asyncio.create_task(encoder.encode(query, text, watch), name="text"))

    async def join(self, objects: Sequence[EmbeddedObject]) -> list[EmbeddedObject]:
        """The objects with embeddings of image and text together. Raises `SightlineError` as the text encoder does."""
        # Shielded: what ends the wait of one part of a photo must not end it for the others.
        return combined(objects, await asyncio.shield(self.vector), self.weight)

    async def end(self) -> None:
        """Ends what still runs; raises nothing."""
        await cancelled(self.vector)
