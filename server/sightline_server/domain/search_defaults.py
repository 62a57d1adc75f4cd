"""Defaults of searches and of new catalogs that the configuration of an embedder states (`search`).

Rule: it belongs to a recipe and not to the vectors, so that it does not tell embedders apart. Every key is executed;
another one is refused when the configuration is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline_server.domain.geometry import Box
from sightline_server.errors import ErrorKind, SightlineError

KEYS = ("whole_photo_share", "local_features")


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """`whole_photo_share`: the middle part of a whole photo that is embedded, as a fraction of each edge.

    `local_features`: whether a new catalog of the embedder keeps local features of its images.
    """

    whole_photo_share: float = 1.0
    local_features: bool = False

    def middle(self, stated: float | None) -> Box:
        """The part of a whole photo that is embedded; `stated` is the operator's share, None for none."""
        return Box.middle(self.whole_photo_share if stated is None else stated)

    def keeps_features(self, stated: bool | None) -> bool:
        """True where a new catalog keeps local features; `stated` is the operator's choice, None for none."""
        return self.local_features if stated is None else stated


def parse_search_defaults(model: str, facts: Mapping[str, Any]) -> SearchDefaults:
    """The `search` of the configuration of the embedder `model`; a key that it leaves out has the default.

    Raises `SightlineError` of kind CONFIGURATION for a key that is not known, and a value of another type or range.
    """
    if unknown := sorted(set(facts) - set(KEYS)):
        raise refusal(model, f"there is no key `{unknown[0]}`; possible are {', '.join(map(repr, KEYS))}")
    share, features = facts.get("whole_photo_share", 1.0), facts.get("local_features", False)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise refusal(model, f"`whole_photo_share` is {share!r}; expected a number above 0 and up to 1")
    if not isinstance(features, bool):
        raise refusal(model, f"`local_features` is {features!r}; expected true or false")
    return SearchDefaults(float(share), features)


def refusal(model: str, text: str) -> SightlineError:
    """The refusal of a configuration."""
    return SightlineError(ErrorKind.CONFIGURATION, f"model {model}: `search` in config.pbtxt: {text}")
