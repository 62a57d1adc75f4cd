"""The engine's configuration and its settings have the same defaults."""

from dataclasses import fields
from pathlib import Path

from sightline_server.embedded.config import EmbeddedConfig
from sightline_server.settings import EngineSettings
from sightline_server.triton.config import EngineConfig


def test_default_of_each_shared_value_is_that_of_the_settings() -> None:
    settings = EngineSettings()
    shared = set()
    for config in (EngineConfig(), EmbeddedConfig(Path(), Path())):
        # The settings leave the repository open; the configuration holds the path that was found for it.
        names = {field.name for field in fields(config)} & set(EngineSettings.model_fields) - {"repository"}
        assert {name: getattr(config, name) for name in names} == {name: getattr(settings, name) for name in names}
        shared |= names
    assert {
        "start_timeout_s",
        "probe_interval_s",
        "probe_timeout_s",
        "shared_memory",
        "metrics_port",
        "device",
        "precision",
    } == shared
