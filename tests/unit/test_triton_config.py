"""The engine's configuration and its settings have the same defaults."""

from dataclasses import fields

from sightline_server.settings import EngineSettings
from sightline_server.triton.config import EngineConfig


def test_default_of_each_shared_value_is_that_of_the_settings() -> None:
    settings, config = EngineSettings(), EngineConfig()
    # The settings leave the repository open; the configuration holds the path that was found for it.
    shared = {field.name for field in fields(EngineConfig)} & set(EngineSettings.model_fields) - {"repository"}
    assert {name: getattr(config, name) for name in shared} == {name: getattr(settings, name) for name in shared}
    assert {"start_timeout_s", "probe_interval_s", "probe_timeout_s", "shared_memory", "metrics_port"} <= shared
