"""Seconds, downloads and disk space that fetching models took, for the last line of `models pull`.

Place in the flow: around `pull`. The one rule: sizes are those of the files on the disk, so that a wheel which was
there already counts as kept and not as downloaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sightline_models.defaults import DefaultModel

MB = 1e6


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes: `downloaded` of new wheels, `wheels` and `models` of the files that are kept."""

    seconds: float
    downloaded: int
    wheels: int
    models: int

    def line(self) -> str:
        """It as one line."""
        kept = f"{self.wheels / MB:.1f} MB of wheels, {self.models / MB:.1f} MB of models"
        return (
            f"{self.seconds:.1f} s, {self.downloaded / MB:.1f} MB downloaded, "
            f"{(self.wheels + self.models) / MB:.1f} MB kept ({kept})"
        )


class Taking:
    """Measures from its making on; `downloads` is the folder of the wheels, None where there is none."""

    def __init__(self, downloads: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._downloads = downloads
        self._clock = clock
        self._begun = clock()
        self._there = _wheels(downloads)

    def done(self, models: Iterable[DefaultModel], files: Iterable[Path] = ()) -> Taken:
        """Returns the seconds and sizes up to now of `models`, whose ONNX files are `files`."""
        wheels = _wheels(self._downloads)
        of_models = {source.filename for model in models for source in model.sources}
        return Taken(
            seconds=self._clock() - self._begun,
            downloaded=sum(size for name, size in wheels.items() if name not in self._there),
            wheels=sum(size for name, size in wheels.items() if name in of_models),
            models=sum(path.stat().st_size for path in files if path.is_file()),
        )


def _wheels(downloads: Path | None) -> dict[str, int]:
    """Sizes in bytes of the wheels in a folder, by their names."""
    return {path.name: path.stat().st_size for path in downloads.glob("*.whl")} if downloads is not None else {}
