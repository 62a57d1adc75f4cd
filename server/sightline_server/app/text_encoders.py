"""The text encoders of a process, each with its tokenizer and its batcher.

Rule: without a text encoder nothing here is built, and the library of tokenizers is not imported.
"""

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from sightline_models.errors import ModelError
from sightline_models.store import served_path
from sightline_models.tokenizer import FILE, TextTokenizer
from sightline_server.app.batchers import Device, batcher, texts_label, texts_with
from sightline_server.app.text_folders import repository_of
from sightline_server.domain.text_encoders import ServedTextEncoder
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Engine
from sightline_server.search.text_encoder import TextEncoder
from sightline_server.settings import Settings
from sightline_server.telemetry.metrics import Metrics


def build_text_encoders(
    stack: AsyncExitStack, settings: Settings, engine: Engine, metrics: Metrics
) -> Mapping[str, TextEncoder]:
    """The text encoders of `engine` by the identity of their embedder; their batchers close with `stack`.

    Batches are bounded as those of crops are. Raises `SightlineError` of kind CONFIGURATION where a tokenizer is
    missing, or is not the one of its text encoder.
    """
    return {
        identity: TextEncoder(
            embedder=identity,
            spec=each.spec,
            tokenizer=open_tokenizer(repository_of(settings), each),
            texts=batcher(
                stack,
                texts_label(each),
                texts_with(engine, each),
                settings.batching.crops,
                Device.of(each.spec),
                metrics,
            ),
        )
        for identity, each in engine.text_encoders.items()
    }


def open_tokenizer(repository: Path, served: ServedTextEncoder) -> TextTokenizer:
    """The tokenizer next to the model file on this machine. Raises `SightlineError` of kind CONFIGURATION."""
    path = served_path(repository, served.role).with_name(FILE)
    try:
        tokenizer = TextTokenizer.read(path, served.spec.length)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except ModelError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, str(error)) from error
    except OSError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{path}: cannot be read: {error.strerror}") from error
    require_digest(path, found, served)
    return tokenizer


def require_digest(path: Path, found: str, served: ServedTextEncoder) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for another tokenizer than the text encoder states."""
    if found != served.spec.tokenizer_sha256:
        message = (
            f"{path}: has sha256 {found}, and config.pbtxt of {served.role} states {served.spec.tokenizer_sha256}; put "
            "the tokenizer of that text encoder there"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
