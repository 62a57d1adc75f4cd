"""The catalogs that compare local features, by what is set for one of them and for its name."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from sightline_server.domain.weights import MOST
from sightline_server.settings import LocalFeatureSettings, Settings

SHOP = Path("/catalogs/shop")


def chosen(own: bool | None, named: bool | None) -> dict[str, bool]:
    settings = Settings(
        catalog={"path": SHOP, "name": "shop", "local_features": own},  # type: ignore[arg-type]
        catalogs={"shop": {"path": SHOP, "local_features": named}, "other": {"path": Path("/catalogs/other")}},  # type: ignore[dict-item]
    )
    assert settings.with_catalogs(["other"]).local_features_of == settings.local_features_of
    return settings.local_features_of


@pytest.mark.parametrize(
    ("own", "named", "expected"),
    [
        (None, None, {}),
        (True, None, {"shop": True}),
        (None, False, {"shop": False}),
        (True, True, {"shop": True}),
        (True, False, {"shop": False}),
        (False, True, {"shop": False}),
    ],
)
def test_a_catalog_has_its_own_setting_and_of_two_false_counts(
    own: bool | None, named: bool | None, expected: dict[str, bool]
) -> None:
    assert chosen(own, named) == expected


def test_contributions_have_the_bounds_of_weights_in_a_file() -> None:
    with pytest.raises(ValidationError):
        LocalFeatureSettings(contribution=0.51)
    with pytest.raises(ValidationError):
        LocalFeatureSettings(colour_contribution=0.31)
    compared = LocalFeatureSettings(contribution=0.5, colour_contribution=0.3)
    assert (compared.contribution, compared.colour_contribution) == (MOST["local_features"], MOST["colours"])
