"""Settings: command line over environment over file over defaults; a name that nobody knows is an error."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sightline_server.app.checks import check_settings
from sightline_server.cli.loading import load
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import LimitSettings, ServerSettings, Settings
from tests.support.engine import CHECKOUT

TOML = """
[server]
listen = "127.0.0.1:1001"
grace_s = 11
metrics_listen = "127.0.0.1:1002"

[limits]
max_regions = 5
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SIGHTLINE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sightline.toml"
    path.write_text(TOML)
    return path


def refusal(config: Path | None = None, **overrides: Any) -> str:
    with pytest.raises(SightlineError) as caught:
        load(config, **overrides)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    return caught.value.message


def test_without_anything_the_defaults() -> None:
    settings = load()
    assert settings.server == ServerSettings()
    assert settings.limits == LimitSettings()
    assert settings.home == CHECKOUT / ".sightline"


def test_command_line_over_environment_over_file_over_defaults(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_SERVER__GRACE_S", "22")
    monkeypatch.setenv("SIGHTLINE_SERVER__METRICS_LISTEN", "127.0.0.1:2002")
    settings = load(config, server={"metrics_listen": "127.0.0.1:3002", "listen": None})
    assert str(settings.server.metrics_listen) == "127.0.0.1:3002"
    assert settings.server.grace_s == 22
    assert str(settings.server.listen) == "127.0.0.1:1001"
    assert settings.limits.max_regions == 5
    assert settings.limits.max_products == LimitSettings().max_products


def test_options_that_were_not_given_override_nothing(config: Path) -> None:
    assert (
        load(config, server={"listen": None, "insecure": None}, catalog={"path": None}).model_dump()
        == load(config).model_dump()
    )


def test_a_group_of_the_environment_and_a_third_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_BATCHING__CROPS__SLOTS", "3")
    settings = load()
    assert settings.batching.crops.slots == 3
    assert settings.batching.crops.max_batch == 32, "the group's other defaults stay"
    assert settings.batching.frames.max_batch == 8


def test_the_home_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    assert load().home == tmp_path


def test_unknown_names_in_the_file_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for text, name in [
        ("[server]\nlisten_on = 'x'", "server.listen_on"),
        ("[servers]\nlisten = 'x'", "servers"),
        ("port = 1", "port"),
    ]:
        path.write_text(text)
        assert name in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        "SIGHTLINE_SERVER__LISTEN_ON",
        "SIGHTLINE_SERVERS__LISTEN",
        "SIGHTLINE_BATCHING__CROP__SLOTS",
        "sightline_limit__max_regions",
    ],
)
def test_unknown_variables_are_errors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    assert name.lower().split("__")[-2].removeprefix("sightline_") in refusal()


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_TARGET", "example:1")
    monkeypatch.setenv("OTHER__THING", "x")
    assert load().server == ServerSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIMITS__MAX_PHOTO_BYTES", "0"),
        ("LIMITS__MAX_PHOTO_BYTES", "many"),
        ("SERVER__GRACE_S", "-1"),
        ("DETECTION__MIN_SCORE", "1.5"),
        ("DETECTION__MIN_SCORE", "nan"),
        ("DETECTION__TAP_SQUARE", "0"),
        ("LOG__LEVEL", "LOUD"),
        ("LIMITS__DEFAULT_OBJECTS", "17"),
        ("LIMITS__DEFAULT_PRODUCTS", "101"),
        ("SERVER", "{not json"),
    ],
)
def test_a_value_that_cannot_be_is_an_error_that_names_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SIGHTLINE_{name}", value)
    message = refusal()
    assert name.split("__")[0].lower() in message
    assert "None" not in message


def test_a_default_above_its_limit_is_named_with_both_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_LIMITS__MAX_PRODUCTS", "5")
    assert refusal().endswith("default_products is 10, above max_products (5): lower it, or raise max_products")


@pytest.mark.parametrize(
    ("given", "default"), [({}, 16), ({"max_objects": 12}, 12), ({"max_objects": 12, "default_objects": 8}, 8)]
)
def test_a_lower_cap_on_objects_lowers_their_default(given: dict[str, int], default: int) -> None:
    limits = LimitSettings(**given)
    assert limits.default_objects == default
    assert LimitSettings(**limits.model_dump()) == limits
    with pytest.raises(ValidationError, match="default_objects is 13, above max_objects"):
        LimitSettings(max_objects=12, default_objects=13)


def test_an_unknown_group_of_a_variable_is_refused_with_the_known_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_LIMIT__MAX_REGIONS", "7")
    message = refusal()
    assert message.startswith("variable SIGHTLINE_LIMIT__MAX_REGIONS: there is no group of settings 'limit'")
    assert message.endswith(
        "the groups are server, access, consent, valkey, pseudonym_quota, audit, limits, decode, codes, "
        "local_features, printed_text, detection, ranking, batching, engine, catalog, catalogs, index, transfer, log, "
        "tracing"
    )


@pytest.mark.parametrize("content", [b"[server", b"\xff\xfe\x00", b"server = 3"])
def test_a_file_that_cannot_be_read_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert refusal(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert "nowhere.toml" in refusal(tmp_path / "nowhere.toml")
    assert str(tmp_path) in refusal(tmp_path)


def test_settings_are_frozen() -> None:
    settings = load()
    for part, name, value in ((settings, "home", Path("/")), (settings.server, "listen", "x")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, name, value)


def test_two_loads_share_nothing(config: Path) -> None:
    load(config)
    assert load().server.listen == ServerSettings().listen
    assert Settings.model_config.get("toml_file") is None


def test_what_is_printed_can_be_read_back() -> None:
    assert Settings.model_validate_json(load().model_dump_json()).model_dump() == load().model_dump()


@pytest.mark.parametrize("workers", [0, 65])
def test_workers_are_at_least_one_and_not_hundreds(workers: int) -> None:
    assert "server.workers" in refusal(server={"workers": workers})


def test_workers_are_told_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_SERVER__WORKERS", "3")
    assert load().server.workers == 3
    assert load(server={"workers": 2}).server.workers == 2


def test_a_budget_that_no_request_fits_into_is_refused() -> None:
    with pytest.raises(ValidationError, match="request_budget_bytes"):
        Settings.model_validate({"limits": {"request_budget_bytes": 20 << 20}})
    assert Settings(limits={"request_budget_bytes": 21 << 20}).limits.largest_request == 21 << 20  # type: ignore[arg-type]


IN_MILVUS = """
[catalogs.local]
path = "/srv/local"

[catalogs.shop]
backend = "milvus"
uri = "https://milvus.internal:19530"
token_file = "/etc/token"
ca_file = "/etc/ca.pem"
"""


def test_a_catalog_may_be_in_milvus(tmp_path: Path) -> None:
    path = tmp_path / "sightline.toml"
    path.write_text(IN_MILVUS)
    settings = load(path)
    assert settings.catalog_names.names == ("local", "shop")
    assert settings.catalog_folders == {"local": Path("/srv/local")}
    assert settings.milvus_catalogs["shop"].uri == "https://milvus.internal:19530"


def test_a_catalog_in_milvus_with_a_folder_is_written_and_not_searched_there() -> None:
    part = {"backend": "milvus", "uri": "http://m:1", "path": Path("/srv/shop")}
    settings = Settings(catalogs={"shop": part})  # type: ignore[dict-item]
    assert settings.written_in_milvus == {"shop": Path("/srv/shop")}
    assert settings.catalog_folders == {} and settings.catalog_names.names == ("shop",)
    with pytest.raises(SightlineError, match=r"catalogs\.shop\.path /srv/shop .* needs server\.catalog_listen"):
        check_settings(settings)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({}, "needs a path"),
        ({"uri": "http://m:1"}, "needs a path"),
        ({"path": "/srv/a", "uri": "http://m:1"}, "are for backend = 'milvus'"),
        ({"backend": "milvus"}, "needs a uri such as"),
        ({"backend": "milvus", "uri": "milvus:19530"}, "needs a uri such as"),
        ({"backend": "milvus", "uri": "http://m:1", "ca_file": "/a"}, "needs a uri that begins with https://"),
        ({"backend": "qdrant", "path": "/srv/a"}, "'folder' or 'milvus'"),
    ],
)
def test_a_catalog_is_in_one_place(part: dict[str, str], reason: str) -> None:
    assert reason in refusal(catalogs={"shop": part})
