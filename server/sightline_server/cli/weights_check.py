"""Checks of the weights of ranking for `sightline doctor`: the file next to each embedder, or that of the settings.

Rule: one finding for each embedder; they inspect and change nothing.
"""

from collections.abc import Iterator

from sightline_models.embedders import FIRST
from sightline_server.app.further_embedders import further_embedders
from sightline_server.app.ranking_weights import read_weights, repository_of
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.settings import Settings


def ranking_weights(settings: Settings) -> Iterator[Check]:
    """The findings about the weights; one for all embedders where the settings name the file."""
    try:
        folders = () if settings.local_features.weights is not None else further_embedders(settings)
    except SightlineError:  # another finding reports it
        folders = ()
    for folder in (FIRST, *folders):
        yield weights_of_embedder(settings, folder)


def weights_of_embedder(settings: Settings, folder: str) -> Check:
    """The finding about the weights for the catalogs of one embedder."""
    name = "ranking weights" if folder == FIRST else f"ranking weights, {folder}"
    try:
        found = read_weights(settings, folder)
    except SightlineError as error:
        return Check(name, Verdict.FAIL, error.message)
    if found.path is not None:
        return Check(name, Verdict.OK, f"{found.weights.identity} in {found.path}")
    remote = repository_of(settings) is None
    hint = "" if remote else "sightline models pull puts the file next to the embedder"
    return Check(name, Verdict.OK, f"{found.weights.identity}, as shipped", hint)
