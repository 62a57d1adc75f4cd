"""The folder that Triton makes in /tmp: its host marks it once, and removes it with the engine."""

from pathlib import Path

import pytest

from sightline_server.embedded import folders
from sightline_server.embedded.config import EmbeddedConfig
from sightline_server.embedded.host import EmbeddedHost
from sightline_server.embedded.process import TritonProcess


class EndedProcess(TritonProcess):
    """A tritonserver that has ended and has no stubs."""

    def __init__(self) -> None:
        self.prefix = "sightline-none-"
        self.graces: list[float] = []

    @property
    def pid(self) -> int:
        return 2**22 + 1

    def end(self, grace_s: float) -> None:
        self.graces.append(grace_s)


async def test_folder_is_marked_once_and_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "FOLDER", tmp_path)
    own, neighbour = tmp_path / "python_env_own000", tmp_path / "python_env_other0"
    host = EmbeddedHost(EmbeddedConfig(tmp_path, tmp_path), lambda model, name, precision: None)
    host._process = EndedProcess()
    host._folders_before = folders.present()
    own.mkdir()
    host.settled()
    neighbour.mkdir()
    # As after the reload of a model.
    host.settled()
    assert (len(folders.names(own)), folders.names(neighbour)) == (1, [])
    await host.end(0)
    assert (own.exists(), neighbour.exists()) == (False, True)


@pytest.mark.parametrize(("appeared", "grace_s"), [(1, 0), (2, 5.0), (0, 5.0)])
async def test_an_engine_is_killed_unless_only_it_can_remove_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appeared: int, grace_s: float
) -> None:
    monkeypatch.setattr(folders, "FOLDER", tmp_path)
    host = EmbeddedHost(EmbeddedConfig(tmp_path, tmp_path), lambda model, name, precision: None)
    host._process = process = EndedProcess()
    host._folders_before = folders.present()
    for number in range(appeared):
        (tmp_path / f"python_env_{number}00000").mkdir()
    host.settled()
    await host.end(5.0)
    assert process.graces == [grace_s]
