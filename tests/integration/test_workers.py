"""Workers: one port, one engine, one catalog in memory, one `/metrics`; and each answers as a server alone does."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from load_tests.observe.processes import below, living, shared_files
from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_models.places import default_repository
from sightline_models.ranking_weights import weights_path
from sightline_server.domain.weights import Weights
from tests.e2e.test_canary import read_url
from tests.support.crew import OPTIONS, callers, until_all_serve, value, worker_of, workers_of
from tests.support.engine import sightline_home
from tests.support.grants import AUDIENCE, ISSUER, ConsentService, hash_of
from tests.support.pictures import encode
from tests.support.tokens import add_key, bearer
from tests.support.world import RunningServer, World, asked, draw_photo, environment, running, search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
PHOTOS = [encode(draw_photo(seed), quality=92) for seed in range(3)]
POLICY = """
[principals.anonymous]
catalogs = ["*"]
methods = ["*"]

[principals.counted]
catalogs = ["*"]
methods = ["search"]
quota = { calls_per_minute = 1, calls_burst = 20 }

[principals.open]
catalogs = ["*"]
methods = ["search"]
quota = { concurrent = 5 }
"""
KEYS: dict[str, str] = {}
CONSENT: list[ConsentService] = []
OWN_WEIGHTS = Weights(0.125, 0.0625, 0.25, 10, 40)
CONNECTIONS = 16
"""So many that the kernel gives both workers some, but for one time in 30,000."""
AT_ONCE = 4


@pytest.fixture(scope="module")
def crew(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with two workers, for callers without a credential, for two with a quota, and for calls with grants."""
    folder = tmp_path_factory.mktemp("crew")
    CONSENT.append(ConsentService(folder))
    (folder / "policy.toml").write_text(POLICY)
    repository = shutil.copytree(default_repository(sightline_home()), folder / "repository")
    weights = weights_path(repository, "embedder")
    weights.write_text(json.dumps(OWN_WEIGHTS.facts()))
    KEYS.update({name: add_key(folder / "keys.json", name) for name in ("counted", "open")})
    with running(
        world,
        folder / "server.log",
        SIGHTLINE_SERVER__WORKERS="2",
        SIGHTLINE_ENGINE__REPOSITORY=str(repository),
        SIGHTLINE_ACCESS__POLICY_FILE=str(folder / "policy.toml"),
        SIGHTLINE_ACCESS__KEYS_FILE=str(folder / "keys.json"),
        SIGHTLINE_CONSENT__MODE="optional",
        SIGHTLINE_CONSENT__JWKS_FILE=str(CONSENT[-1].path),
        SIGHTLINE_CONSENT__ISSUER=ISSUER,
        SIGHTLINE_CONSENT__AUDIENCE=AUDIENCE,
        SIGHTLINE_PSEUDONYM_QUOTA__PHOTOS_PER_MINUTE="1",
        SIGHTLINE_PSEUDONYM_QUOTA__BURST="20",
    ) as made:
        asyncio.run(until_all_serve(made))
        # It counts at the start only, whatever happens to it later.
        weights.write_text("damaged")
        yield made


async def codes_of(searches: Iterable[Callable[[], Any]]) -> list[grpc.StatusCode]:
    """The codes of these calls, made `AT_ONCE` at a time: more would be refused by the limit of what is inside."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def code_of(search: Callable[[], Any]) -> grpc.StatusCode:
        async with turn:
            code: grpc.StatusCode = await search().code()
            return code

    return await asyncio.gather(*map(code_of, searches))


async def test_every_worker_answers_and_the_figures_are_those_of_all(crew: RunningServer) -> None:
    before = value(crew, "requests_total", code="OK")
    async with callers(crew, CONNECTIONS) as made:
        calls = await asyncio.gather(*(caller.call(PHOTOS[0]) for caller in made))
    assert {call.code for call in calls} <= {"OK", "RESOURCE_EXHAUSTED"}
    good = [call for call in calls if call.code == "OK"]
    assert {worker_of(crew, call) for call in good} == {1, 2}
    assert value(crew, "requests_total", code="OK") == before + len(good)
    assert value(crew, "in_flight") == 0


async def test_a_worker_answers_as_a_server_alone_does(crew: RunningServer, server: RunningServer) -> None:
    for photo in PHOTOS:
        answers = []
        for each in (crew, server):
            async with grpc.aio.insecure_channel(each.target) as channel:
                answers.append(await search(channel, asked(photo)))
        ours, alone = answers
        assert [found.object_id for found in ours.objects] == [found.object_id for found in alone.objects]
        for object_id, products in alone.products.items():
            assert [one.product.id for one in ours.products[object_id]] == [one.product.id for one in products]
        assert (ours.done.catalog_revision, ours.done.detector, ours.done.embedder) == (
            alone.done.catalog_revision,
            alone.done.detector,
            alone.done.embedder,
        )
        assert "@" in ours.done.embedder, "the digest reaches the workers"


async def test_workers_have_the_weights_that_the_server_was_started_with(crew: RunningServer) -> None:
    async with callers(crew, CONNECTIONS) as made:
        asked_for = lens_service_pb2.GetServerInfoRequest()
        stubs = [lens_service_pb2_grpc.LensServiceStub(each.channel) for each in made]
        infos = [await stub.GetServerInfo(asked_for, timeout=30) for stub in stubs]
    assert {each.catalogs[0].embedder.ranking_weights for each in infos} == {OWN_WEIGHTS.identity}


async def test_both_workers_count_one_quota(crew: RunningServer) -> None:
    async with callers(crew, CONNECTIONS) as made:
        searches = [lens_service_pb2_grpc.LensServiceStub(each.channel).Search for each in made * 3]
        # A request that is refused as soon as it was read: it counts, and takes no time of the engine.
        codes = await codes_of(
            partial(search, asked(b"no photo"), metadata=bearer(KEYS["counted"]), timeout=30) for search in searches
        )
    # One more for each minute that this takes.
    assert codes.count(grpc.StatusCode.INVALID_ARGUMENT) in (20, 21)
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == len(codes) - codes.count(grpc.StatusCode.INVALID_ARGUMENT)
    workers = {worker for worker in (1, 2) if f"Search worker={worker} " in crew.log.read_text()}
    assert workers == {1, 2}
    assert value(crew, "quota_refusals_total", principal="counted") == codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)


async def test_both_workers_count_one_pseudonym(crew: RunningServer) -> None:
    photo = b"no photo of a person"
    async with callers(crew, CONNECTIONS) as made:
        searches = [lens_service_pb2_grpc.LensServiceStub(each.channel).Search for each in made * 3]
        grants = [CONSENT[-1].grant(rate="of-today", pht=hash_of(photo)) for _ in searches]
        pairs = zip(searches, grants, strict=True)
        codes = await codes_of(
            partial(search, asked(photo), metadata=(("sightline-grant", grant),), timeout=30) for search, grant in pairs
        )
    assert set(codes) == {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(grpc.StatusCode.INVALID_ARGUMENT) in (20, 21)
    refused = value(crew, "quota_refusals_total", principal="anonymous", quota="photos_per_minute")
    assert refused == codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)


async def test_open_calls_of_one_principal_are_bounded_over_both_workers(crew: RunningServer) -> None:
    async with callers(crew, CONNECTIONS) as made:
        silent: list[Any] = [
            each.channel.stream_stream("/sightline.v1.LensService/Search")(metadata=bearer(KEYS["open"]), timeout=60)
            for each in made
        ]
        ended: set[asyncio.Task[Any]] = set()
        async with asyncio.timeout(30):
            waiting = {asyncio.ensure_future(call.code()) for call in silent}
            while len(ended) < CONNECTIONS - 5:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                ended |= done
        assert {each.result() for each in ended} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert value(crew, "open_calls") == 5
        for task in waiting:
            task.cancel()


def test_there_is_one_engine_below_the_parent_and_the_workers_beside_it(crew: RunningServer) -> None:
    assert {role: len(found) for role, found in crew.children().items() if role != "other"} == {
        "tritonserver": 1,
        "detector": 1,
        "embedder": 1,
    }
    assert len(workers_of(crew)) == 2
    assert value(crew, "workers") == value(crew, "workers_wanted") == 2


def test_the_vectors_are_in_memory_once(crew: RunningServer) -> None:
    inodes = set()
    for worker in workers_of(crew):
        lines = [line.split() for line in Path(f"/proc/{worker.pid}/maps").read_text().splitlines()]
        found = {words[4] for words in lines if len(words) > 5 and words[5] == "/memfd:sightline-vectors"}
        assert len(found) == 1
        inodes |= found
    assert len(inodes) == 1


async def test_health_is_answered_by_every_worker(crew: RunningServer) -> None:
    for _ in range(CONNECTIONS):
        async with grpc.aio.insecure_channel(crew.target, options=OPTIONS) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="sightline.v1.LensService"), timeout=5
            )
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_metrics_name_each_worker_and_say_nothing_twice(crew: RunningServer) -> None:
    families = list(text_string_to_metric_families(read_url(crew.process.metrics_url).decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    by_name = {family.name: family for family in families}
    for name in ("worker_resident_memory_bytes", "worker_open_fds", "worker_cpu_seconds"):
        samples = [each for each in by_name[f"sightline_{name}"].samples if each.value > 0]
        assert sorted(sample.labels["worker"] for sample in samples) == ["1", "2"]
    (build,) = by_name["sightline_build_info"].samples
    assert "@" in build.labels["embedder"]
    (transport, _) = by_name["sightline_triton_transport"].samples
    assert (transport.value, transport.labels["transport"]) == (1, "shm")
    assert {each.labels["provider"] for each in by_name["sightline_engine_provider"].samples} == {
        "CPUExecutionProvider"
    }
    assert value(crew, "engine_restarts_total") == 0


def test_each_worker_measures_the_recall_of_what_it_serves(crew: RunningServer) -> None:
    families = text_string_to_metric_families(read_url(crew.process.metrics_url).decode())
    samples = {(each.name, each.labels.get("outcome")): each.value for family in families for each in family.samples}
    # A worker measures before it listens or soon after; the counter is the sum of both.
    assert samples["sightline_recall_at_10", None] == 1.0
    assert samples["sightline_recall_sets_total", "measured"] >= 2
    assert samples["sightline_recall_sets_total", "failed"] == 0


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_a_second_server_on_the_port_is_refused_by_its_name(
    crew: RunningServer, world: World, more: tuple[str, ...]
) -> None:
    ended = serve(world, "--listen", crew.target, *more)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"sightline: cannot listen on {crew.target}")


def test_what_is_wrong_with_the_catalog_is_said_once_and_exits_2(world: World, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    arguments = ("--listen", "127.0.0.1:0", "--workers", "2")
    ended = serve(world, *arguments, catalog=nowhere)
    assert ended.returncode == 2
    assert ended.stderr.count(f"sightline: there is no catalog at {nowhere}") == 1
    ended = serve(world, *arguments, "--catalog", f"shoes={nowhere}")
    assert ended.returncode == 2
    assert ended.stderr.count(f"sightline: catalog shoes: there is no catalog at {nowhere}") == 1


def serve(world: World, *arguments: str, catalog: str = "") -> "subprocess.CompletedProcess[str]":
    """`sightline serve` to its end, which is to come soon."""
    command = [sys.executable, "-m", "sightline_server", "serve", "--catalog", catalog or str(world.catalog)]
    return subprocess.run(
        [*command, "--metrics-listen", "127.0.0.1:0", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_sighup_replaces_the_workers_and_loses_no_accepted_call(crew: RunningServer) -> None:
    before = {worker.pid for worker in workers_of(crew)}
    over = asyncio.Event()
    async with callers(crew, 4) as made:
        calling = [asyncio.create_task(caller.call_on(PHOTOS[0], over)) for caller in made]
        crew.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while "workers replaced" not in crew.log.read_text():  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
        over.set()
        await asyncio.gather(*calling)
        calls = [call for caller in made for call in caller.calls]
    assert [call for call in calls if call.lost] == []
    assert sum(call.code == "OK" for call in calls) > 4
    assert not before & {worker.pid for worker in workers_of(crew)}
    assert value(crew, "worker_restarts_total") == 0
    await until_all_serve(crew)


async def test_sighup_to_every_process_replaces_the_workers_and_ends_nothing_else(crew: RunningServer) -> None:
    """As `systemctl kill -s HUP` sends it: to the parent, the workers, the engine, its stubs and the reaper."""
    before = crew.log.read_text().count("workers replaced")
    everyone = psutil.Process(crew.pid).children(recursive=True)
    workers = set(workers_of(crew))
    for process in (*everyone, psutil.Process(crew.pid)):
        process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(60):
        while crew.log.read_text().count("workers replaced") == before:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)
    others = [process for process in everyone if process not in workers]
    assert len(living(others)) == len(others) >= 4
    assert not workers & set(workers_of(crew))
    assert value(crew, "worker_restarts_total") == value(crew, "engine_restarts_total") == 0
    await until_all_serve(crew)


def test_a_stop_leaves_nothing(world: World, tmp_path: Path) -> None:
    with running(world, tmp_path / "server.log", SIGHTLINE_SERVER__WORKERS="2") as made:
        pid = made.pid
        processes = [process for found in below(pid).values() for process in found]
        numbers = [worker.pid for worker in workers_of(made)]
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(30) == 0
    assert len(numbers) == 2
    assert living(processes) == []
    assert [name for number in (pid, *numbers) for name in shared_files(number)] == []
    assert not list(Path("/tmp").glob(f"sightline-metrics-{pid}-*"))
    assert "Traceback" not in (tmp_path / "server.log").read_text()
