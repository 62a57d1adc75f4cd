"""Promises that the contract and the settings alone keep, and the page that names the test of each promise."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from sightline_privacy.checks.disclosure import names_for_money, names_of_settings, names_of_the_contract
from sightline_privacy.checks.profiling import REQUESTS, fields_about_callers
from sightline_privacy.command import app
from sightline_privacy.promises import Promise
from sightline_server.rpc.lens.service import SERVICE
from sightline_server.settings import Settings
from tests.support.engine import CHECKOUT

PAGE = (CHECKOUT / "docs" / "operate" / "privacy.md").read_text()
ROW = re.compile(r"^\| ([a-z -]+) \| .+ \| `(tests/[\w/]+\.py)::(\w+)` \|$", re.MULTILINE)
OFF = {
    "server.catalog_listen": None,
    "server.catalogs_folder": None,
    "server.keep_originals": False,
    "server.insecure": False,
    "server.metrics_insecure": False,
    "access.policy_file": None,
    "audit.folder": None,
    "consent.mode": "off",
    "consent.store_folder": None,
    "tracing.endpoint": None,
    "log.level": "INFO",
    "ranking.one_per_group": False,
}
"""Settings that keep or send data, or open a way to others, with the value that does not."""


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The full names of all settings."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_of(kind, f"{prefix}{name}.")


def test_no_field_and_no_setting_moves_a_product_for_money() -> None:
    fields, settings = list(names_of_the_contract()), list(settings_of(Settings))
    assert "sightline.v1.RankedProduct.score" in fields
    assert "ranking.category_bonus" in settings
    assert names_for_money([*fields, *settings]) == []


@pytest.mark.parametrize("name", ["Product.sponsored", "ranking.boost", "promotion_weight", "bid", "ranking.paid_rank"])
def test_a_name_for_money_is_found(name: str) -> None:
    assert names_for_money(["Product.title", "audit.folder", name, "heading", "forbidden"]) == [name]


def test_a_setting_for_money_is_found_in_a_file(tmp_path: Path) -> None:
    config = tmp_path / "sightline.toml"
    config.write_text("# boost = 1\n[ranking]\nsimilar = 0.5  # boost\nbrand_boost = 0.2\n")
    assert names_for_money(names_of_settings(config)) == ["brand_boost"]


def test_no_request_says_who_the_person_is() -> None:
    searching = {method.input_type for method in SERVICE.methods if method.output_type.name == "SearchResponse"}
    assert set(REQUESTS) == searching, "the command checks every request of a search"
    assert [name for request in REQUESTS for name in fields_about_callers(request)] == []


def test_whatever_keeps_or_sends_data_is_off_by_default() -> None:
    settings = Settings()
    for name, value in OFF.items():
        group, _, field = name.partition(".")
        assert getattr(getattr(settings, group), field) == value, name
    assert (str(settings.server.listen), str(settings.server.metrics_listen)) == ("127.0.0.1:50051", "127.0.0.1:9464")


def test_the_page_names_a_test_that_exists_for_each_promise() -> None:
    rows = ROW.findall(PAGE)
    assert [title for title, _, _ in rows] == [promise.title for promise in Promise]
    missing = [
        f"{path}::{name}"
        for _, path, name in rows
        if not re.search(rf"^(?:async )?def {name}\(", (CHECKOUT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_the_page_describes_each_option_of_the_command() -> None:
    command = typer.main.get_command(app).commands["verify"]  # type: ignore[attr-defined]
    shared = {"--target", "--catalog", "--json", "--help", "--insecure", "--token-file", "--pid"}
    options = {each.opts[0] for each in command.params} - shared
    assert {each for each in options if not each.startswith("--tls")} - set(re.findall(r"--[a-z-]+", PAGE)) == set()
