"""Local features that a server keeps of the products that callers write, through a real channel."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sightline.v1 import catalog_service_pb2 as pb
from sightline_server.app.catalog_changes import kept_kinds
from sightline_server.app.checks import check_settings
from sightline_server.catalog.originals import Originals
from sightline_server.catalog.originals_file import FEATURE_FILES, IMAGE_FILES, keeps_originals
from sightline_server.domain.feature_bytes import encode as encoded
from sightline_server.domain.image import Frame
from sightline_server.domain.search_defaults import SearchDefaults
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.index.kept_features import feature_key
from sightline_server.index.living import LivingCatalog
from sightline_server.settings import Settings
from sightline_server.settings.server import ServerSettings
from sightline_server.stages.local_features.describing import image_features
from tests.support.catalog_service import catalog_serving, make_shop, product, ready, reason, upsert, upserted
from tests.support.catalogs import SPEC
from tests.support.pictures import blocks, encode


def link(seed: int) -> str:
    return f"https://shop.example/{seed}.png"


def image(seed: int) -> pb.ProductImage:
    return pb.ProductImage(link=link(seed), data=encode(blocks(seed), "PNG"))


def features(seed: int) -> bytes:
    return encoded(image_features(Frame(blocks(seed))))


async def test_images_that_callers_send_are_described(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    with LivingCatalog(shop) as living:
        living.features.switch(True)
    async with catalog_serving(shop) as served:
        sent = [
            upsert(product("new", image(1), ready(served.embedder, 1), image(2))),
            upsert(product("ready", ready(served.embedder, 2))),
            upsert(product("trial", image(3)), validate_only=True),
        ]
        assert [reason(status) for status in await upserted(served, *sent)] == ["OK"] * 3
    store = Originals(shop, FEATURE_FILES)
    assert [store.content(feature_key("new", link(seed))) for seed in (1, 2)] == [features(1), features(2)]
    assert store.content(feature_key("trial", link(3))) is None
    store.close()
    assert not keeps_originals(shop)


async def test_a_catalog_without_features_writes_no_file(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    async with catalog_serving(shop) as served:
        assert [reason(status) for status in await upserted(served, upsert(product("new", image(1))))] == ["OK"]
    assert not keeps_originals(shop, FEATURE_FILES)


def test_a_new_catalog_keeps_features_where_the_server_says_so(tmp_path: Path) -> None:
    for keep in (True, False):
        server = ServerSettings(keep_local_features=keep, keep_originals=not keep)
        assert kept_kinds(server, SPEC) == [FEATURE_FILES if keep else IMAGE_FILES]
        with CatalogsFolder(tmp_path, kinds=partial(kept_kinds, server)) as folder:
            made = folder.create(f"keep-{keep}".lower(), SPEC)
        assert keeps_originals(made, FEATURE_FILES) is keep


def test_a_new_catalog_keeps_features_where_its_embedder_says_so_and_the_server_nothing() -> None:
    wanted = replace(SPEC, search=SearchDefaults(local_features=True))
    assert kept_kinds(ServerSettings(), wanted) == [FEATURE_FILES]
    assert kept_kinds(ServerSettings(), SPEC) == []
    assert kept_kinds(ServerSettings(keep_local_features=False), wanted) == []
    assert wanted == SPEC, "it is the same embedder"


def test_the_setting_without_a_folder_of_catalogs_is_refused(tmp_path: Path) -> None:
    server = {"keep_local_features": True, "catalog_listen": "127.0.0.1:0"}
    settings = Settings(catalog={"path": make_shop(tmp_path)}, server=server)  # type: ignore[arg-type]
    with pytest.raises(SightlineError, match=r"needs server\.catalogs_folder.*--local-features") as refused:
        check_settings(settings)
    assert refused.value.kind is ErrorKind.CONFIGURATION
