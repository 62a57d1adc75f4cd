"""The defaults of searches that an embedder's configuration states, and what goes before them."""

from sightline_server.domain.geometry import Box
from sightline_server.domain.search_defaults import SearchDefaults, parse_search_defaults


def test_a_setting_goes_before_the_configuration() -> None:
    found = parse_search_defaults("embedder", {"whole_photo_share": 0.5, "local_features": True})
    assert found.middle(None) == Box.middle(0.5)
    assert found.middle(1.0) == Box.whole()
    assert (found.keeps_features(None), found.keeps_features(False)) == (True, False)
    assert SearchDefaults().middle(None) == Box.whole()
    assert SearchDefaults().keeps_features(True)
