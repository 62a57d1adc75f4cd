"""The catalogs of a server, by its options, its variables and its file, and the default one."""

from pathlib import Path

import pytest

from sightline_server.cli.loading import load
from sightline_server.cli.served_catalogs import parse_catalogs
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings

FILE = """
[catalog]
path = "/file/old"

[catalogs.shoes]
path = "/file/shoes"

[catalogs.lamps]
path = "/file/lamps"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sightline.toml"
    path.write_text(FILE)
    return path


def folders(settings: Settings) -> dict[str, str]:
    return {name: str(path) for name, path in settings.catalog_folders.items()}


def test_a_file_names_many_catalogs_and_the_old_key_is_one_of_them(file: Path) -> None:
    settings = load(file)
    assert folders(settings) == {"default": "/file/old", "shoes": "/file/shoes", "lamps": "/file/lamps"}
    assert settings.catalog_names == CatalogNames(("default", "shoes", "lamps"), "default")


@pytest.mark.parametrize(
    ("names", "default"),
    [(["a", "b"], "a"), (["b", "a"], "b"), (["a", "default"], "default"), (["default", "a"], "default")],
)
def test_the_default_is_called_default_or_is_the_first(names: list[str], default: str) -> None:
    assert (
        Settings.model_validate({"catalogs": {name: {"path": "/x"} for name in names}}).catalog_names.default == default
    )


def test_a_variable_adds_a_catalog(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CATALOGS__VASES__PATH", "/variable/vases")
    monkeypatch.setenv("SIGHTLINE_CATALOGS__SHOES__PATH", "/variable/shoes")
    found = folders(load(file))
    assert (found["vases"], found["shoes"], found["lamps"]) == ("/variable/vases", "/variable/shoes", "/file/lamps")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["/cli"], {"default": "/cli"}),
        (["./a=b"], {"default": "a=b"}),
        (["/srv/a=b"], {"default": "/srv/a=b"}),
        (["shoes=/cli/shoes"], {"shoes": "/cli/shoes"}),
        (["b=B", "a=A"], {"b": "B", "a": "A"}),
        (["b=x=y"], {"b": "x=y"}),
        (["default=/d"], {"default": "/d"}),
        (["/cli", "b=B"], {"default": "/cli", "b": "B"}),
        (["b=B", "/cli"], {"default": "/cli", "b": "B"}),
        ([], {"default": "/file/old", "shoes": "/file/shoes", "lamps": "/file/lamps"}),
    ],
)
def test_the_command_line_says_all_that_is_served(
    file: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], expected: dict[str, str]
) -> None:
    if given:
        monkeypatch.setenv("SIGHTLINE_CATALOGS__VASES__PATH", "/variable/vases")
    settings = load(file, served=parse_catalogs(given))
    assert list(folders(settings).items()) == list(expected.items())


def test_a_name_of_the_old_key_stays_for_a_folder_without_one(tmp_path: Path) -> None:
    path = tmp_path / "sightline.toml"
    path.write_text('[catalog]\nname = "shop"\npath = "/file"\n')
    assert folders(load(path, served=parse_catalogs(["/cli"]))) == {"shop": "/cli"}
    assert folders(load(path, served=parse_catalogs(["shop=/cli"]))) == {"shop": "/cli"}
    with pytest.raises(SightlineError, match=r"two folders: /cli by .* and /other by"):
        load(path, served=parse_catalogs(["/cli", "shop=/other"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a=1", "a=2"], "a is given twice: 1 and 2"),
        (["1", "2"], "1 and 2 have no name"),
        (["a="], "'a=' has no folder"),
        ([""], "'' has no folder"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(SightlineError, match=message) as caught:
        parse_catalogs(given)
    assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "ä", "a" * 64, "a\n"])
def test_a_name_that_could_not_be_a_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="catalogs"):
        Settings.model_validate({"catalogs": {name: {"path": "/x"}}})


def test_a_catalog_without_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sightline.toml"
    path.write_text("[catalogs.shop]\n")
    with pytest.raises(SightlineError, match=r"setting catalogs.shop: .*a catalog needs a path"):
        load(path)
