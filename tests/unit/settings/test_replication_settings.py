"""The settings of catalogs that follow another server, and of those that are published."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sightline_server.settings import Settings

SHOP, SHARE = Path("/catalogs/shop"), Path("/share/shop")


def settings(**shop: Any) -> Settings:
    return Settings.model_validate({"catalogs": {"shop": shop, "other": {"path": "/catalogs/other"}}})


def test_followed_and_published_catalogs_are_known_by_name() -> None:
    assert settings(path=SHOP, follow=SHARE).followed_catalogs == {"shop": SHARE}
    assert settings(path=SHOP, publish=SHARE).published_catalogs == {"shop": SHARE}
    assert settings(path=SHOP).followed_catalogs == settings(path=SHOP).published_catalogs == {}


@pytest.mark.parametrize(
    ("shop", "message"),
    [
        ({"path": SHOP, "follow": SHARE, "publish": SHARE}, "set follow or publish"),
        ({"path": SHOP, "follow": SHARE, "local_features": True}, "local features are not published"),
        ({"follow": SHARE}, "needs a path"),
        ({"backend": "milvus", "uri": "http://m:1", "follow": SHARE}, "follow and publish are for backend = 'folder'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(shop: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**shop)
