"""The catalogs that compare local features, by what is set for one of them and for its name."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from sightline_server.settings import LocalFeatureSettings, RankingSettings, Settings
from sightline_server.stages.rank import CODE_CONTRIBUTION

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


def test_no_contribution_lifts_a_product_over_that_of_a_code() -> None:
    with pytest.raises(ValidationError):
        LocalFeatureSettings(contribution=0.51)
    with pytest.raises(ValidationError):
        LocalFeatureSettings(colour_contribution=0.31)
    compared = LocalFeatureSettings(contribution=0.5, colour_contribution=0.3)
    most = compared.contribution + compared.colour_contribution
    ranking = RankingSettings(category_bonus=0.5, unavailable_penalty=0.5)
    assert 2 + ranking.category_bonus + ranking.unavailable_penalty + most < CODE_CONTRIBUTION
