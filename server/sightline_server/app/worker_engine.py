"""The engine of a worker on another machine, from the settings of the command that sent it there.

Rule: a value that can be pickled. Paths are those of the command's machine, made absolute: all nodes have the same.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sightline_server.app.engine import engine_session
from sightline_server.app.further_embedders import with_embedder
from sightline_server.domain.models import EmbedderSpec
from sightline_server.ingest.embedding import Embed, engine_embed
from sightline_server.settings import EngineSettings, Settings


@dataclass(frozen=True, slots=True)
class WorkerEngine:
    """Starts the engine of `settings`, by name of the group, and gives the embedder that is named, else the first."""

    settings: dict[str, Any]
    embedder: str | None

    @classmethod
    def of(cls, settings: Settings, embedder: str | None) -> Self:
        """The engine of these settings."""
        groups = {name: getattr(settings, name) for name in Settings.model_fields}
        home = settings.home and settings.home.absolute()
        return cls(groups | {"home": home, "engine": with_absolute_paths(settings.engine)}, embedder)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[tuple[EmbedderSpec, Embed]]:
        """The embedder of a started engine, for the length of the context. Raises as `engine_session`."""
        settings = Settings.model_construct(**self.settings)
        async with engine_session(with_embedder(settings, self.embedder)) as engine:
            embedders = engine.embedders
            chosen = embedders.named(self.embedder) if self.embedder else embedders.first
            yield chosen.spec, engine_embed(engine, role=chosen.role)


def with_absolute_paths(engine: EngineSettings) -> EngineSettings:
    """The settings with every path absolute."""
    paths = {name: value.absolute() for name, value in engine if isinstance(value, Path)}
    return engine.model_copy(update=paths)
