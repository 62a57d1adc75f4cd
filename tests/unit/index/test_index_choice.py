"""Choosing an index: what is tried and taken, what is recorded, and what a server does with each record it may find."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from sightline_server.app.limits import index_policy
from sightline_server.cli.catalog import app
from sightline_server.errors import SightlineError
from sightline_server.index import selfcheck
from sightline_server.index.catalog import open_catalog
from sightline_server.index.choice import building, choosing, trying
from sightline_server.index.choice.approximate import ApproximateIndex
from sightline_server.index.choice.building import TooSlowError, build, to_bytes
from sightline_server.index.choice.candidates import BY_NAME, CPU, GPU, Candidate, applicable, lists_of, named
from sightline_server.index.choice.choosing import IndexPolicy, choose_index, index_of
from sightline_server.index.choice.measuring import Trial, selector_from, trial_of
from sightline_server.index.choice.record import IndexRecord
from sightline_server.index.choice.shelf import FOLDER, IndexShelf
from sightline_server.index.choice.trying import EXACT, Tried, choose
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.filters.planner import PlanLimits
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.opening import open_snapshot
from sightline_server.settings import IndexSettings
from tests.support.catalogs import DIMENSION, SPEC, row, unit_vectors, write_catalog

LISTS = BY_NAME["ivf-sq8"]
ANY_SIZE = IndexPolicy(exact_bytes=0)
NAMES = [candidate.name for candidate in CPU]


def clusters(count: int, dimension: int = 32, seed: int = 0) -> NDArray[np.float16]:
    """Vectors around some centres, as those of products are."""
    random = np.random.default_rng(seed)
    centres = unit_vectors(max(1, count // 30), 1, dimension)
    vectors = centres[random.integers(0, len(centres), count)] + 0.6 * unit_vectors(count, seed, dimension)
    rounded: NDArray[np.float16] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return rounded


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog without an index, to copy."""
    path = tmp_path_factory.mktemp("plain") / "shop"
    vectors = clusters(600, DIMENSION).astype(np.float32)
    write_catalog(path, [row(f"p{n:04}", vectors[n : n + 1]) for n in range(600)])
    return path


@pytest.fixture(scope="module")
def with_index(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IndexRecord]:
    """The same catalog with inverted lists, whatever exact search takes; to copy."""
    path = tmp_path_factory.mktemp("chosen") / "shop"
    shutil.copytree(plain, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trying, "try_exact", lambda trial, gpu: Tried(EXACT, 0, 1.0, 1e6, 1e6, 1 << 40))
        return path, choose_index(open_catalog(path), ANY_SIZE, [LISTS])


@pytest.fixture
def catalog(plain: Path, tmp_path: Path) -> Catalog:
    shutil.copytree(plain, tmp_path / "shop")
    return open_catalog(tmp_path / "shop")


@pytest.fixture
def chosen(with_index: tuple[Path, IndexRecord], catalog: Catalog) -> IndexRecord:
    """The record of `catalog`, for which inverted lists were chosen."""
    shutil.copytree(with_index[0] / FOLDER, catalog.path / FOLDER)
    return with_index[1]


def served(catalog: Catalog, policy: IndexPolicy = ANY_SIZE) -> str:
    """The description of the index that serves `catalog`; its answers are those of exact search."""
    index = index_of("shop", catalog, policy, use_gpu=False).index
    queries = unit_vectors(5, 3, catalog.vectors.shape[1])
    expected, _ = FaissIndex(catalog.vectors, use_gpu=False).search(queries, 1)
    assert np.allclose(index.search(queries, 1)[0], expected, atol=1e-5)
    return index.description


def files(catalog: Catalog, suffix: str) -> list[Path]:
    return sorted((catalog.path / FOLDER).glob(f"*{suffix}"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dimension", [16, 300])
def test_every_candidate_finds_what_exact_search_finds(name: str, dimension: int) -> None:
    candidate = BY_NAME[name]
    if not candidate.applies(dimension):
        assert candidate not in applicable(dimension, gpu=False)
        return
    vectors = clusters(800, dimension)
    tried = choose(trial_of(vectors, "1-abc"), [candidate], limit_s=60).tried[1]
    assert not tried.note
    assert tried.right
    assert tried.size > vectors.nbytes
    index = ApproximateIndex(build(candidate, vectors), vectors, candidate, tried.effort)
    exact = FaissIndex(vectors, use_gpu=False)
    queries = unit_vectors(20, 5, dimension)
    similarities, rows = index.search(queries, 40)
    vectors = vectors.astype(np.float32)
    true = np.einsum("bd,bkd->bk", queries, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[rows])
    assert np.allclose(similarities, true, atol=1e-6), "similarities are exact whatever the codes are"
    assert np.all(np.diff(similarities, axis=1) <= 0)
    assert np.allclose(index.subset(rows[0]).search(queries[:1], 3)[0], similarities[:1, :3], atol=1e-6)
    exact.close()


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[NDArray[np.float16], Any]]:
    """Vectors, and FAISS's index of each candidate over them."""
    vectors = clusters(700, 260)
    return {candidate.name: (vectors, build(candidate, vectors)) for candidate in CPU}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 0.004, 0.05, 0.5, 1.0])
def test_a_candidate_returns_every_allowed_row_and_no_other(
    made: dict[str, tuple[NDArray[np.float16], Any]], name: str, share: float
) -> None:
    candidate = BY_NAME[name]
    vectors = made[name][0]
    index = ApproximateIndex(made[name][1], vectors, candidate, candidate.efforts[0])
    allowed = np.random.default_rng(1).random(len(vectors)) < share
    k = index.max_k
    _, rows = index.search_allowed(unit_vectors(3, 2, 260), k, allowed)
    for found in rows:
        kept = found[found >= 0]
        assert len(kept) == len(set(kept.tolist())) == int(allowed.sum())
        assert allowed[kept].all()


def test_a_search_belongs_to_the_thread_that_adopted_the_index() -> None:
    vectors = clusters(300)
    index = ApproximateIndex(build(LISTS, vectors), vectors, LISTS, 8)
    with DeviceThreadOf() as device, pytest.raises(RuntimeError, match="belongs to the thread"):
        device.call(lambda: index.search(unit_vectors(1, 0, 32), 1))


class DeviceThreadOf(DeviceThread):
    """A device thread that ends with the block."""

    def __enter__(self) -> "DeviceThreadOf":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.mark.parametrize("count", [1, 2, 39, 100, 10_000, 1_000_000, 100_000_000])
def test_the_number_of_lists_leaves_enough_vectors_to_train_each(count: int) -> None:
    assert lists_of(count) >= 1
    assert lists_of(count) * 39 <= max(39, count)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_a_few_vectors_can_have_any_index(count: int) -> None:
    vectors = clusters(count, 16)
    for candidate in applicable(16, gpu=False):
        index = ApproximateIndex(build(candidate, vectors), vectors, candidate, 8)
        assert sorted(index.search(unit_vectors(1, 1, 16), count)[1][0].tolist()) == list(range(count))


def test_the_cheapest_of_those_that_find_enough_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "ivf-rabitq": Tried("ivf-rabitq", 8, 0.94, 0.1, 0.1, 10),
        "ivf-sq8": Tried("ivf-sq8", 8, 0.95, 1.0, 1.0, 100),
        "hnsw-sq8": Tried("hnsw-sq8", 64, 0.99, 0.4, 0.5, 200),
        "pca-hnsw-sq8": Tried("pca-hnsw-sq8", note="too slow"),
    }
    monkeypatch.setattr(trying, "try_exact", lambda trial, gpu: Tried(EXACT, 0, 1.0, 9.0, 9.0, 400))
    monkeypatch.setattr(trying, "try_one", lambda trial, candidate, *_: (object(), figures[candidate.name]))
    monkeypatch.setattr(trying, "to_bytes", lambda index: np.zeros(3, np.uint8))
    told: list[Tried] = []
    choice = choose(trial_of(clusters(100), "1-abc"), named(list(figures)), limit_s=1, done=told.append)
    assert choice.chosen.name == "hnsw-sq8"
    assert choice.data is not None
    assert tuple(told) == choice.tried
    assert len(told) == 5


@pytest.mark.parametrize("gpu", [False, True])
def test_exact_search_is_measured_on_the_device_that_would_serve_it(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    devices: list[bool] = []

    def on_cpu(vectors: NDArray[np.float16], *, use_gpu: bool) -> FaissIndex:
        devices.append(use_gpu)
        return FaissIndex(vectors, use_gpu=False)

    monkeypatch.setattr(trying, "FaissIndex", on_cpu)
    choice = choose(trial_of(clusters(100), "1-abc"), [], limit_s=60, gpu=gpu)
    assert devices == [gpu]
    assert choice.chosen.size == 4 * clusters(100).size


def test_exact_search_stays_where_nothing_finds_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trial, "recall", lambda trial, search: 0.949)
    choice = choose(trial_of(clusters(500), "1-abc"), [LISTS], limit_s=60)
    assert (choice.chosen.name, choice.data) == (EXACT, None)
    assert choice.tried[1].recall == 0.949


def test_a_build_over_its_limit_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clusters(40_000, 8)
    with pytest.raises(TooSlowError, match="to build"):
        build(LISTS, vectors, limit_s=0)
    monkeypatch.setattr(trying, "build", lambda *_, **given: build(LISTS, vectors, limit_s=0))
    tried = choose(trial_of(clusters(100), "1-abc"), [LISTS], limit_s=0).tried[1]
    assert "the limit is 0 s" in tried.note
    assert not tried.right


@pytest.mark.parametrize(
    "error", [RuntimeError("Error: at faiss/x.cpp"), AttributeError("GpuIndexCagra"), MemoryError()]
)
def test_a_kind_that_the_library_cannot_build_is_one_candidate_less(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **given: object) -> None:
        raise error

    monkeypatch.setattr(trying, "build", refuse)
    choice = choose(trial_of(clusters(100), "1-abc"), [LISTS, *GPU], limit_s=60)
    assert choice.chosen.name == EXACT
    assert all(tried.note for tried in choice.tried[1:])


def test_candidates_of_a_gpu_are_not_built_without_one() -> None:
    choice = choose(trial_of(clusters(200), "1-abc"), GPU, limit_s=60)
    assert [tried.note for tried in choice.tried[1:]] == ["it cannot be built here (AttributeError)"] * 2


def test_filters_use_the_index_from_the_matches_on_at_which_it_was_right() -> None:
    vectors = clusters(3000)
    trial, limits = trial_of(vectors, "1-abc"), PlanLimits(gather_bytes=0)
    exact = FaissIndex(vectors, use_gpu=False)

    class Blind(ApproximateIndex):
        """Finds only the first rows under a filter."""

        def search_allowed(
            self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
        ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            few = allowed.copy()
            few[len(few) // 4 :] = False
            return super().search_allowed(queries, k, few)

    made = build(LISTS, vectors)
    assert selector_from(Blind(made, vectors, LISTS, 64), trial, 0.95, limits) == 3001
    assert selector_from(exact, trial, 0.95, PlanLimits()) == 3001, "so few are copied anyway"


@pytest.mark.parametrize("candidate", CPU, ids=lambda each: each.name)
def test_an_index_states_the_memory_of_its_codes_and_vectors(candidate: Candidate) -> None:
    vectors = clusters(2000)
    if not candidate.applies(vectors.shape[1]):
        candidate = replace(candidate, reduced=vectors.shape[1] // 2)
    index = build(candidate, vectors)
    stated = ApproximateIndex(index, vectors, candidate, 64).memory_bytes
    # Its file has the trained parts as well, which are large only for few vectors.
    assert vectors.nbytes < stated <= vectors.nbytes + 4 * len(vectors) + len(to_bytes(index))
    assert FaissIndex(vectors, use_gpu=False).memory_bytes == 2 * vectors.nbytes


async def test_a_recorded_index_serves_and_a_restart_tries_nothing(
    catalog: Catalog, chosen: IndexRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(trying, "choose", None)
    device = DeviceThread()
    for way in ("loaded", "built"):
        snapshot = await open_snapshot(catalog.path, "shop", SPEC, device, ANY_SIZE)
        found = await snapshot.nearest(catalog.vectors[:3].astype(np.float32), 1)
        assert [[one.product_id for one in each] for each in found] == [["p0000"], ["p0001"], ["p0002"]]
        assert f"catalog shop: index ivf-sq8 {way}" in caplog.text
        await snapshot.close()
        for path in files(catalog, ".faiss"):
            path.unlink()
    device.close()
    assert chosen.chosen.name == "ivf-sq8"


def test_up_to_the_limit_search_is_exact_whatever_is_recorded(catalog: Catalog, chosen: IndexRecord) -> None:
    size = 4 * catalog.vectors.size
    assert served(catalog, IndexPolicy(exact_bytes=size)).startswith("flat")
    assert served(catalog, IndexPolicy(exact_bytes=size - 1)).startswith("ivf-sq8")
    assert index_policy(IndexSettings(exact_mib=3)).exact_bytes == 3 << 20


def test_without_a_record_search_is_exact_and_the_log_names_the_command(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert served(catalog).startswith("flat")
    assert f"sightline catalog index {catalog.path}" in caplog.text


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    vectors = clusters(600, DIMENSION, seed=9)
    building.to_bytes(build(LISTS, vectors)).tofile(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, flipped, emptied, foreign, folder])
def test_a_damaged_or_foreign_index_file_is_never_served(
    catalog: Catalog, chosen: IndexRecord, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    [path] = files(catalog, ".faiss")
    damage(path)
    caplog.set_level(logging.INFO)
    assert served(catalog).startswith("ivf-sq8")
    assert f"the index file {path} is ignored" in caplog.text
    assert "index ivf-sq8 built" in caplog.text


def changed(**fields: object) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | fields)


def of_chosen(**fields: object) -> Callable[[str], str]:
    def change(text: str) -> str:
        facts = json.loads(text)
        return json.dumps(facts | {"chosen": facts["chosen"] | fields})

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: "[]",
        lambda text: "[" * 50_000,
        lambda text: text + " " * 100_000,
        changed(format=2),
        changed(more=1),
        changed(vectors="600"),
        changed(vectors=-1),
        changed(tried="none"),
        changed(chosen=None),
        changed(file={"sha256": 3, "vectors_sha256": ""}),
        of_chosen(name="ivf-of-tomorrow"),
        of_chosen(effort=True),
        of_chosen(recall=float("nan")),
        of_chosen(recall=None),
    ],
)
def test_a_record_that_is_not_one_is_ignored(
    catalog: Catalog, chosen: IndexRecord, caplog: pytest.LogCaptureFixture, change: Callable[[str], str]
) -> None:
    [path] = files(catalog, ".json")
    path.write_text(change(path.read_text()))
    assert served(catalog).startswith("flat")
    assert f"the index record {path} is ignored" in caplog.text


def test_a_record_survives_being_written_and_read(chosen: IndexRecord) -> None:
    assert IndexRecord.parse(chosen.to_json()) == chosen
    with pytest.raises(ValueError, match="format"):
        IndexRecord.parse("{}")


def test_vectors_in_another_order_do_not_get_the_file(
    catalog: Catalog, chosen: IndexRecord, caplog: pytest.LogCaptureFixture
) -> None:
    reversed_order = replace(catalog, vectors=catalog.vectors[::-1].copy())
    assert served(reversed_order).startswith("ivf-sq8")
    assert "in another order" in caplog.text


def test_the_next_revision_gets_the_same_kind_only_when_it_is_right_again(
    catalog: Catalog, chosen: IndexRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with LivingCatalog(catalog.path) as living:
        living.upsert([row("new", unit_vectors(1, 77))])
        living.checkpoint()
    later = open_catalog(catalog.path)
    assert (later.path / FOLDER).is_dir(), "the record goes with the catalog when it gets a log"
    assert not (later.path / "base.lance" / FOLDER).exists()
    assert IndexShelf(later.path).record_of(later.facts.content_sha256) is None
    found = index_of("shop", later, ANY_SIZE, use_gpu=False)
    assert found.index.description.startswith("ivf-sq8")
    assert found.limits.selector_from == len(later.vectors) + 1, "no filter was measured on this revision"
    monkeypatch.setattr(Trial, "recall", lambda trial, search: 0.9)
    assert served(later).startswith("flat")
    assert "the chosen index has recall@10 0.900 on this revision" in caplog.text


def test_a_chosen_index_that_finds_too_little_is_replaced_by_exact_search(
    catalog: Catalog, chosen: IndexRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(selfcheck, "recall", lambda index, vectors: 0.5)
    assert served(catalog).startswith("flat")
    assert "exact search, because the chosen index has recall@10 0.500" in caplog.text


async def test_a_chosen_index_that_drops_rows_is_refused_by_the_gate(
    catalog: Catalog, chosen: IndexRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dropping(ApproximateIndex):
        def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            similarities, rows = super().search(queries, k)
            return similarities, np.where(rows % 3 == 0, -1, rows)

    monkeypatch.setattr(choosing, "ApproximateIndex", Dropping)
    monkeypatch.setattr(choosing, "proven", lambda *_, **given: True)
    device = DeviceThread()
    with pytest.raises(SightlineError, match="the self-check of catalog shop failed"):
        await open_snapshot(catalog.path, "shop", SPEC, device, ANY_SIZE)
    device.close()


@pytest.mark.parametrize(("vectors", "dimension"), [(299, DIMENSION), (1201, DIMENSION), (600, 9)])
def test_an_index_chosen_for_another_size_is_not_taken(chosen: IndexRecord, vectors: int, dimension: int) -> None:
    assert chosen.proposes(600, DIMENSION)
    assert not chosen.proposes(vectors, dimension)


def test_an_index_of_a_gpu_is_not_taken_without_one(
    catalog: Catalog, chosen: IndexRecord, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    IndexShelf(catalog.path).save(replace(chosen, chosen=replace(chosen.chosen, name="gpu-cagra"), file=None), None)
    assert served(catalog).startswith("flat")
    assert "the chosen index gpu-cagra is for a GPU" in caplog.text


def test_an_index_that_cannot_be_built_is_replaced_by_exact_search(
    catalog: Catalog, chosen: IndexRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **given: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(choosing, "build", refuse)
    files(catalog, ".faiss")[0].unlink()
    assert served(catalog).startswith("flat")
    assert "exact search, because the index ivf-sq8 cannot be built" in caplog.text


def test_records_of_two_contents_are_kept_and_older_ones_removed(catalog: Catalog, chosen: IndexRecord) -> None:
    shelf = IndexShelf(catalog.path)
    for number in range(4):
        shelf.save(replace(chosen, content=f"{number}" * 64), np.zeros(9, np.uint8))
    assert len(files(catalog, ".json")) == len(files(catalog, ".faiss")) == 2
    newest = shelf.newest()
    assert newest is not None
    assert newest.content == "3" * 64
    assert shelf.record_of(chosen.content) is None
    assert [path.name for path in (catalog.path / FOLDER).iterdir() if "partial" in path.name] == []


def test_a_record_that_cannot_be_written_leaves_the_old_one(
    catalog: Catalog, chosen: IndexRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sightline_server.index.choice.shelf.sync", full)
    with pytest.raises(OSError, match="No space"):
        IndexShelf(catalog.path).save(replace(chosen, revision="9-new"), np.zeros(9, np.uint8))
    monkeypatch.undo()
    found = IndexShelf(catalog.path).record_of(chosen.content)
    assert found == chosen
    assert served(catalog).startswith("ivf-sq8")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_the_table_and_info_shows_the_choice(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_INDEX__EXACT_MIB", "0")
    assert "none chosen for this revision" in command("info", catalog.path).stdout
    monkeypatch.setattr(trying, "try_exact", lambda trial, gpu: Tried(EXACT, 0, 1.0, 1e6, 1e6, 1 << 40))
    result = command("index", catalog.path, "--candidates", "ivf-sq8, ivf-rabitq")
    assert result.exit_code == 0, result.output
    heads = [line.split()[0] for line in result.stdout.splitlines()]
    assert heads[:4] == ["index", "exact", "ivf-sq8", "ivf-rabitq"]
    assert f"{catalog.path}: ivf-" in result.stdout
    shown = command("info", catalog.path).stdout
    assert "index       ivf-" in shown
    assert "recall@10 " in shown
    assert catalog.revision in shown


def test_a_small_catalog_has_nothing_to_choose(catalog: Catalog) -> None:
    result = command("index", catalog.path)
    assert result.exit_code == 0
    assert "exact search" in result.stdout
    assert "index.exact_mib" in command("info", catalog.path).stdout
    assert not (catalog.path / FOLDER).exists()


def test_an_unknown_candidate_is_named_with_the_known_ones(catalog: Catalog) -> None:
    result = command("index", catalog.path, "--candidates", "lsh")
    assert result.exit_code == 2
    assert "there is no index 'lsh' to try; expected some of ivf-rabitq" in result.stderr
