"""A worker: its faults are outcomes, and it starts again after one."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline_server.app.worker_engine import WorkerEngine
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest import seen_images
from sightline_server.ingest.build import BuildOptions
from sightline_server.ingest.on_ray import parts
from sightline_server.ingest.on_ray.plan import Block, LinkToEmbed
from sightline_server.ingest.on_ray.worker import Fault, Work, Worker
from sightline_server.settings import EngineSettings, Settings
from tests.support.catalogs import LIMITS, write_picture
from tests.support.ray_builds import CountedEngine


def block(*links: str) -> Block:
    return Block(0, len(links), (tuple(LinkToEmbed(seen_images.key_of(link), link) for link in links),))


class Case:
    """A worker on a folder of images, and the pauses that it made."""

    def __init__(self, folder: Path) -> None:
        write_picture(folder / "a.png", 7)
        self.engine = CountedEngine()
        self.pauses: list[float] = []
        options = BuildOptions(feed=Path("feed"), out=folder / "shop", decode=LIMITS)
        self.worker = Worker(Work(options, folder, self.engine), self.pauses.append)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.worker.close()


def test_a_block_gives_embeddings_and_errors(case: Case) -> None:
    outcome = case.worker.outcome(block("a.png", "none.png"))
    assert outcome.fault is None
    first, second = parts.decode(outcome.part).images
    assert first.embeddings is not None
    assert (second.embeddings, second.error) == (None, "there is no such file")


def test_a_worker_that_fails_pauses_longer_each_time_and_starts_again(case: Case) -> None:
    fault = SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine has ended")

    def fail() -> None:
        raise fault

    case.engine.before = fail
    for _ in range(3):
        assert case.worker.outcome(block("a.png")).fault == Fault(fault.kind, fault.message)
    case.engine.before = lambda: None
    assert case.worker.outcome(block("a.png")).fault is None
    assert case.worker.outcome(block("a.png")).fault is None
    assert case.pauses == [5.0, 10.0, 20.0]
    assert case.engine.started == 4


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "/tmp/x"), "/tmp/x: No space left on device"),
        (ValueError("secret"), "internal error (ValueError)"),
    ],
)
def test_whatever_is_raised_is_a_fault(case: Case, error: Exception, message: str) -> None:
    def fail() -> None:
        raise error

    case.engine.before = fail
    fault = case.worker.outcome(block("a.png")).fault
    assert fault is not None
    assert fault.message == message


def test_the_engine_of_a_worker_is_pickled_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=tmp_path, engine=EngineSettings(repository=Path("models")))
    engine = pickle.loads(pickle.dumps(WorkerEngine.of(settings, "embedder")))
    assert engine.settings["engine"].repository == tmp_path / "models"
    assert engine.settings["home"] == tmp_path
    assert Settings.model_construct(**engine.settings) == settings.model_copy(
        update={"engine": engine.settings["engine"]}
    )
