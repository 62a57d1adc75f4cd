"""Errors and switches around the libraries that `models export` loads models with; no PyTorch is needed."""

import os

import pytest

from sightline_models.errors import ModelError
from sightline_models.export_source import parse_source
from sightline_models.pytorch.loading import loading, prepare

HUB = parse_source("facebook/dinov2-small")


def raised(error: Exception, cause: Exception | None = None, source: str = "facebook/dinov2-small") -> str:
    with pytest.raises(ModelError) as caught, loading(parse_source(source)):
        raise error from cause
    return str(caught.value)


def test_an_error_of_a_library_is_its_first_line() -> None:
    message = raised(OSError("\nno such model\nmore lines"))
    assert message.startswith("facebook/dinov2-small: transformers cannot load it (no such model); the hub must be")
    assert "ValueError" in raised(ValueError())
    assert "timm.list_pretrained" in raised(RuntimeError("Unknown model"), source="timm:resnet50")


def test_the_error_that_it_began_with_is_named() -> None:
    message = raised(ModuleNotFoundError("no class"), RuntimeError("operator torchvision::nms does not exist"))
    assert "(no class; operator torchvision::nms does not exist; torchvision is not the one of this torch" in message


def test_own_errors_pass_unchanged() -> None:
    assert raised(ModelError("as it is")) == "as it is"


@pytest.mark.parametrize("inherited", ["0", None])
def test_telemetry_of_the_hub_is_off(monkeypatch: pytest.MonkeyPatch, inherited: str | None) -> None:
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "0")
        if inherited is None:
            monkeypatch.delenv(name)
    prepare(HUB)
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ.get("HF_HUB_OFFLINE") == inherited


def test_a_folder_asks_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "0")
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    prepare(parse_source(str(folder)))
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert "the hub" not in raised(OSError("damaged"), source=str(folder))
