"""Messages between parent and worker: all settings, with each worker's share of the limits."""

import json

import pytest

from sightline_server.domain.address import TcpAddress
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.weights import Scale, Weights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.shared import SharedCatalog
from sightline_server.settings import Settings
from sightline_server.workers.task import (
    LISTEN,
    SERVING,
    WARM,
    Task,
    failed_line,
    failure_of,
    given_up_line,
    given_up_of,
    share_of,
)

CATALOG = SharedCatalog(
    "shop", "1-abc", "/catalogs/shop", 1.0, vectors=7, products=8, pictures=9, filters=10, probes=12, adapter=14
)
OTHER = SharedCatalog(
    "other", "1-def", "/catalogs/other", 1.0, vectors=4, products=5, pictures=6, filters=11, probes=13, adapter=15
)


SHOPS = {"shop": {"path": "/catalogs/shop"}, "other": {"path": "/catalogs/other"}}


def settings(**parts: object) -> Settings:
    return Settings.model_validate({"server": {"workers": 4}, **parts})


def test_a_task_arrives_as_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    tls = (b"certificate \xff\n", b"secret")
    sent = Task(
        2,
        settings(limits={"max_regions": 5}, catalogs=SHOPS),
        {"detector": "d" * 64},
        "/tmp/metrics",
        (CATALOG, OTHER),
        tls,
        {"policy": b"[principals.secret] \xff\n"},
        quotas=20,
        weights={"embedder": Weights(0.25, 0.1, 0.05, 10, 40, Scale.LOG), "embedder-wide": Weights()},
    )
    assert "secret" not in repr(sent)
    text = sent.encode()
    # The worker inherits the variables that the parent has read; the settings of its task take precedence.
    monkeypatch.setenv("SIGHTLINE_LIMITS__MAX_REGIONS", "9")
    monkeypatch.setenv("SIGHTLINE_SERVER__WORKERS", "1")
    monkeypatch.setenv("SIGHTLINE_CATALOGS__DEFAULT__PATH", "/elsewhere")
    arrived = Task.decode(text)
    assert arrived == sent
    assert arrived.settings.catalog_names == CatalogNames(("shop", "other"), "shop")


def test_a_task_names_the_files_that_the_worker_inherits() -> None:
    assert Task.decode(Task(1, settings(), {}, "/tmp/metrics", (CATALOG, OTHER)).encode()).descriptors == (
        *(7, 8, 9, 10, 12, 14),
        *(4, 5, 6, 11, 13, 15),
    )
    counted = Task(1, settings(), {}, "/tmp/metrics", (CATALOG,), quotas=20)
    assert Task.decode(counted.encode()).descriptors == (7, 8, 9, 10, 12, 14, 20)


@pytest.mark.parametrize(("workers", "ceiling", "share"), [(4, 64, 16), (3, 64, 21), (8, 4, 1), (1, 64, 64)])
def test_the_ceiling_of_calls_is_divided(workers: int, ceiling: int, share: int) -> None:
    whole = settings(server={"workers": workers}, limits={"max_concurrent_calls": ceiling})
    part = share_of(whole, address=TcpAddress("127.0.0.1", 5), engine=TcpAddress("127.0.0.1", 6))
    assert part.limits.max_concurrent_calls == share
    assert part.server.workers == workers


def test_memory_and_open_calls_are_divided_and_one_request_always_fits() -> None:
    whole = settings(limits={"max_open_calls": 100, "request_budget_bytes": 400 << 20})
    part = share_of(whole, address=TcpAddress("127.0.0.1", 5), engine=TcpAddress("127.0.0.1", 6))
    assert (part.limits.max_open_calls, part.limits.request_budget_bytes) == (25, 100 << 20)
    many = settings(server={"workers": 64}, limits={"request_budget_bytes": 400 << 20})
    part = share_of(many, address=TcpAddress("127.0.0.1", 5), engine=TcpAddress("127.0.0.1", 6))
    assert part.limits.request_budget_bytes == part.limits.largest_request


def test_a_worker_is_sent_to_the_parents_port_and_engine() -> None:
    part = share_of(settings(), address=TcpAddress("127.0.0.1", 5), engine=TcpAddress("127.0.0.1", 6))
    assert (str(part.server.listen), str(part.engine.triton_url)) == ("127.0.0.1:5", "127.0.0.1:6")


def test_a_worker_says_that_it_serves_or_why_it_cannot() -> None:
    assert failure_of(WARM) is failure_of(SERVING) is None
    failed = failure_of(failed_line(SightlineError(ErrorKind.CONFIGURATION, 'no "catalog"\nhere')))
    assert failed is not None
    assert (failed.kind, failed.message) == (ErrorKind.CONFIGURATION, 'no "catalog"\nhere')


def test_a_worker_says_which_model_triton_gave_up() -> None:
    assert given_up_of(given_up_line("detector")) == "detector"
    failed = failed_line(SightlineError(ErrorKind.INTERNAL, "no"))
    assert given_up_of(WARM) is given_up_of(SERVING) is given_up_of(failed) is None


def test_every_message_is_one_line() -> None:
    task = Task(1, settings(), {}, "/tmp/metrics", (CATALOG,))
    given_up = given_up_line("detector")
    for line in (
        task.encode(),
        LISTEN,
        WARM,
        SERVING,
        given_up,
        failed_line(SightlineError(ErrorKind.INTERNAL, "a\nb")),
    ):
        assert line.count(b"\n") == 1
        json.loads(line)


@pytest.mark.parametrize(("whole", "share"), [(600, 150), (3, 1), (1, 1), (0, 0)])
def test_the_traces_of_callers_are_divided(whole: int, share: int) -> None:
    given = Settings.model_validate({"server": {"workers": 4}, "tracing": {"callers_per_minute": whole}})
    part = share_of(given, address=TcpAddress("127.0.0.1", 5), engine=TcpAddress("127.0.0.1", 6))
    assert part.tracing.callers_per_minute == share
