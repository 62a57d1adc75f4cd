"""The engine in places whose paths Triton cannot read: blanks, quotes, brackets, letters beyond ASCII."""

from pathlib import Path

import pytest

from sightline_server import owned_names, runtime_folder
from tests.support.embedded import both, running_engine
from tests.support.engine import sightline_home
from tests.support.tiny_models import build_repository

pytestmark = pytest.mark.engine
HARD = 'My Läden (ü) [1] it\'s "q" $HOME %s a:b ' + "x" * 120


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a hard name that holds a home and a repository."""
    made = tmp_path / HARD
    made.mkdir()
    (made / "home").symlink_to(sightline_home())
    build_repository(made / "models")
    return made


async def test_home_and_repository_with_hard_names_start_and_leave_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.chdir(place)
    before = mine()  # other tests' engines, which this process started earlier
    async with running_engine(place / "models", home=place / "home") as running:
        await both(running.engine)
        assert len(mine()) == len(before) + 1
    assert mine() == before


def mine() -> list[Path]:
    """The runtime folders of this process."""
    return [path for path in runtime_folder.listed() if path.name.startswith(owned_names.own_prefix())]
