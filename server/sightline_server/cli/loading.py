"""Reads the settings for a command: its options over the environment over a TOML file.

Rule: what is wrong is said in one line that names the setting.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from sightline_server.cli.served_catalogs import CatalogOptions
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with settings.")]


def load(config: Path | None = None, *, served: CatalogOptions | None = None, **overrides: dict[str, Any]) -> Settings:
    """Reads the settings; `overrides` are groups of the command line's options, `None` meaning "not given".

    With `served`, the catalogs of the command line, no others are served.

    Raises `SightlineError` of kind CONFIGURATION that names the setting at fault.
    """
    given = {
        group: kept
        for group, values in overrides.items()
        if (kept := {name: value for name, value in values.items() if value is not None})
    }
    if served is not None:
        # Not as "not given": a folder in the file or the environment must not be served as well.
        given["catalog"] = {"path": served.unnamed}
        given["catalogs"] = {name: {"path": path} for name, path in served.named.items()}
    if config is not None and not config.is_file():
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such settings file: {config}")
    refuse_unknown_variables()
    located = type("LocatedSettings", (Settings,), {"model_config": SettingsConfigDict(toml_file=config)})
    try:
        settings: Settings = located(**given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SightlineError(ErrorKind.CONFIGURATION, f"setting {name}: {first['msg']}") from error
    except SettingsError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, str(error)) from error
    except (ValueError, OSError) as error:
        raise SightlineError(ErrorKind.CONFIGURATION, f"settings file {config}: {error}") from error
    if served is not None:
        settings = settings.with_catalogs(served.named)
    return settings


def refuse_unknown_variables() -> None:
    """Raises `SightlineError` for a variable such as SIGHTLINE_LIMIT__MAX_REGIONS, which would have no effect.

    Names without two underscores may belong to other programs.
    """
    for name in os.environ:
        group, nested, _ = name.lower().removeprefix("sightline_").partition("__")
        if name.upper().startswith("SIGHTLINE_") and nested and group not in Settings.model_fields:
            groups = ", ".join(each for each in Settings.model_fields if each != "home")
            message = f"variable {name}: there is no group of settings {group!r}; the groups are {groups}"
            raise SightlineError(ErrorKind.CONFIGURATION, message)
