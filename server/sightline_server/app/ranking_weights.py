"""The weights of ranking that a server starts with: from a file next to each embedder, or the shipped ones.

Rule: a file that cannot be used keeps a server from starting, because answers would silently have another order. A
server of several processes reads the files once, so that all of its workers have one order for as long as it runs. A
repository without the file, as an earlier version made it, has the shipped weights. Without the engine's libraries,
because `sightline doctor` reads it too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sightline_models.embedders import FIRST, embedder_folders
from sightline_models.errors import NoHomeError
from sightline_models.places import default_repository
from sightline_models.ranking_weights import shipped_weights, weights_path
from sightline_server.domain.weights import MOST_BYTES, Weights, WeightsError, parse_weights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import LocalFeatureSettings, Settings

if TYPE_CHECKING:
    from sightline_server.domain.embedders import ServedEmbedders


@dataclass(frozen=True, slots=True)
class PlacedWeights:
    """Weights and the file that they are from; None for the shipped ones."""

    weights: Weights
    path: Path | None


def served_weights(settings: Settings, embedders: "ServedEmbedders") -> dict[str, Weights]:
    """The weights for the catalogs of each embedder, by the name of its folder.

    Raises `SightlineError` of kind CONFIGURATION that names the file and the remedy.
    """
    return {each.role: read_weights(settings, each.role).weights for each in embedders.models}


def by_identity(weights: Mapping[str, Weights], embedders: "ServedEmbedders") -> Mapping[str, Weights]:
    """The weights of `served_weights` by the identity of each embedder."""
    return {each.spec.identity: weights[each.role] for each in embedders.models}


def read_weights(settings: Settings, folder: str = FIRST) -> PlacedWeights:
    """The weights for the embedder in `folder` of the model repository, with those that settings replace.

    Raises `SightlineError` as `served_weights`.
    """
    part = settings.local_features
    found = from_files(part, repository_of(settings), folder)
    weights = replace(
        found.weights,
        local_features=stated(part.contribution, found.weights.local_features),
        colours=stated(part.colour_contribution, found.weights.colours),
        printed_text=stated(settings.printed_text.contribution, found.weights.printed_text),
    )
    return PlacedWeights(weights, found.path)


def check_weights(settings: Settings) -> None:
    """Reads the weights of every embedder, so that a file that cannot be used is found before the engine starts.

    Raises `SightlineError` as `served_weights`.
    """
    read_weights(settings)
    repository, folders = repository_of(settings), settings.engine.embedders
    if repository is None or settings.local_features.weights is not None:
        return
    if folders is None:
        try:
            folders = embedder_folders(repository)
        except PermissionError:  # reported when the embedders are read
            return
    for folder in folders:
        read_weights(settings, folder)


def stated(setting: float | None, of_file: float) -> float:
    """The setting where it is stated."""
    return of_file if setting is None else setting


def from_files(part: LocalFeatureSettings, repository: Path | None, folder: str) -> PlacedWeights:
    """The weights in the file of the settings, next to the embedder, or of this package."""
    if part.weights is not None:
        remedy = "correct the file, or leave local_features.weights out"
        content = content_of(part.weights, remedy)
        if content is None:
            raise unusable(part.weights, "there is no such file", remedy)
        return PlacedWeights(parsed(part.weights, content, remedy), part.weights)
    if repository is not None:
        path = weights_path(repository, folder)
        remedy = "correct the file, or remove it and run `sightline models pull`, which puts the shipped one there"
        content = content_of(path, remedy)
        if content is not None:
            return PlacedWeights(parsed(path, content, remedy), path)
    return PlacedWeights(parse_weights(shipped_weights()), None)


def repository_of(settings: Settings) -> Path | None:
    """The model repository of this machine; None for a remote engine, which has its own, and where there is none."""
    if settings.engine.triton_url is not None:
        return None
    try:
        return settings.engine.repository or default_repository(settings.home)
    except NoHomeError:
        return None


def content_of(path: Path, remedy: str) -> bytes | None:
    """The file's content, or a little more than it may have; None where there is no file."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, f"it cannot be read ({error.strerror or type(error).__name__})", remedy) from error


def parsed(path: Path, content: bytes, remedy: str) -> Weights:
    """The weights in the file's content."""
    try:
        return parse_weights(content)
    except WeightsError as error:
        raise unusable(path, str(error), remedy) from error


def unusable(path: Path, reason: str, remedy: str) -> SightlineError:
    """The error of a file that cannot be used."""
    message = f"the weights of ranking in {path} cannot be used: {reason}; {remedy}"
    return SightlineError(ErrorKind.CONFIGURATION, message)
