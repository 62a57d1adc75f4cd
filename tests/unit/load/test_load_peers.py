"""The comparison with the peers: answers told apart, cells carried, readings summed up. No peer is started."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from load_tests.generator.records import CODES, Run, to_run
from load_tests.peers import equal
from load_tests.peers.cells import COMPOSED, WHOLE, Cell, Seat, seat
from load_tests.peers.http_caller import HttpCaller
from load_tests.peers.peers import PEERS, bentoml_serve, chosen
from load_tests.peers.summary import Latency, Readings, against, latency, losses, of_rate, spread

RATE = "at_half_of_slowest"


def answer(*products: tuple[str, float], label: str = "cup", x_min: float = 0.1) -> dict[str, Any]:
    listed = [{"id": name, "similarity": score, "score": score} for name, score in products]
    return {"objects": [{"object_id": "o1", "label": label, "box": [x_min, 0.1, 0.5, 0.5], "products": listed}]}


OURS = answer(("a", 0.9), ("b", 0.7), ("c", 0.69995), ("d", 0.5))


@pytest.mark.parametrize(
    ("theirs", "what"),
    [
        (answer(("a", 0.90005), ("b", 0.7), ("c", 0.69995), ("d", 0.5)), ""),
        (answer(("a", 0.9), ("c", 0.69995), ("b", 0.7), ("d", 0.5)), ""),
        (answer(("b", 0.7), ("a", 0.9), ("c", 0.69995), ("d", 0.5)), "o1: b instead of a at rank 1"),
        (answer(("a", 0.9), ("x", 0.7), ("c", 0.69995), ("d", 0.5)), "o1: x instead of b at rank 2"),
        (answer(("a", 0.9003), ("b", 0.7), ("c", 0.69995), ("d", 0.5)), "o1: similarity 0.9003 instead of 0.9 for a"),
        (answer(("a", 0.9), ("b", 0.7), ("c", 0.69995), ("x", 0.5)), ""),
        (answer(("a", 0.9), ("b", 0.7)), "o1: 2 products instead of 4"),
        (answer(("a", 0.9), ("b", 0.7), ("c", 0.69995), ("d", 0.5), x_min=0.12), "o1 has another box"),
        (answer(("a", 0.9), label="bowl"), "objects [('o1', 'bowl')] instead of [('o1', 'cup')]"),
    ],
)
def test_an_answer_is_equal_up_to_ties_and_rounding(theirs: dict[str, Any], what: str) -> None:
    assert equal.difference(OURS, theirs) == what


def test_differences_name_the_photo() -> None:
    assert equal.differences(["1.jpg", "2.jpg"], [OURS, OURS], [OURS, answer(("z", 0.1))]) == [
        "2.jpg: o1: 1 products instead of 4"
    ]


def test_a_cell_reaches_the_peers_process() -> None:
    given = Seat(Cell(COMPOSED, 4, 1, 2), Path("/world"), 4321)
    assert seat(given.environment()) == given


def test_each_peer_takes_the_whole_photo() -> None:
    photo = bytes(range(256))
    for peer in PEERS:
        body = peer.body(photo)
        if peer.content_type == "application/json":
            body = base64.b64decode(json.loads(body)["photos"][0])
        assert body == photo
        assert len(set(peer.cells)) == len(peer.cells)
        assert f"\n{peer.package}==" in peer.requirements.read_text()


def test_bentoml_serves_the_service_of_the_layout_on_loopback() -> None:
    whole, composed = (bentoml_serve(Path("/env"), Cell(layout, 4, 2, 1), 8000) for layout in (WHOLE, COMPOSED))
    assert "service:Lens" in whole
    assert "service:Front" in composed
    assert whole[whole.index("--host") + 1] == "127.0.0.1"


def test_peers_are_chosen_by_folder() -> None:
    assert [peer.name for peer in chosen("bentoml,litserve")] == ["BentoML", "LitServe"]
    assert chosen("") == PEERS
    with pytest.raises(SystemExit, match="no peer triton"):
        chosen("triton")


def row(intended: float, ended: float, code: str, objects: int) -> tuple[float, ...]:
    return (intended, intended, 0.0, 0.0, ended, ended, CODES.index(code), objects, 0, 0, 0)


def test_a_call_without_a_good_answer_counts_with_the_deadline() -> None:
    rows = [row(0.0, 0.1, "OK", 2), row(1.0, 1.01, "RESOURCE_EXHAUSTED", 0), row(2.0, 4.5, "UNANSWERED", 0)]
    found = latency(to_run(rows, seconds=5.0, cpu_s=0.1))
    assert found.p50_ms == 2000.0
    assert found.p99_ms == pytest.approx(np.percentile([100, 2000, 2500], 99), abs=0.01)
    assert found.good_share == pytest.approx(1 / 3, abs=1e-4)


def readings(rates: list[float], p99s: list[float]) -> Readings:
    runs = [Latency(p50_ms=p99 / 2, p99_ms=p99, good_share=1.0, valid=True) for p99 in p99s]
    return Readings(rates, {RATE: runs} if runs else {})


def test_ahead_and_behind_are_told_by_medians() -> None:
    found = {
        "Sightline": readings([9.0, 10.0, 30.0], [200.0, 250.0, 900.0]),
        "faster": readings([20.0, 20.0, 1.0], [100.0, 125.0, 125.0]),
        "slower": readings([5.0, 5.0, 50.0], []),
    }
    compared = against(found, [RATE])
    assert compared == {"faster": {"photos_per_s": 0.5, f"p99_{RATE}": 2.0}, "slower": {"photos_per_s": 2.0}}
    assert losses(compared) == ["photos_per_s: 0.5 x that of faster", f"p99_{RATE}: 2 x that of faster"]
    assert of_rate(found, RATE)["slower"] is None
    assert of_rate(found, RATE)["Sightline"]["p99_ms"] == {"median": 250.0, "min": 200.0, "max": 900.0}


def test_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}


async def called(answer: bytes) -> tuple[str, Run, bytes]:
    """The result of a caller from a server that answers with these bytes, and the bytes that it sent."""
    asked = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.readuntil(b"\r\n\r\n"))
        asked.extend(await reader.readexactly(3))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/search"
        caller = HttpCaller(url, [b"one", b"two"], connections=1, deadline_s=5.0, content_type="image/jpeg")
        caller.begin()
        code = await caller.call(0, 1, 0.0)
    return code, to_run(caller.rows, seconds=1.0, cpu_s=0.0), bytes(asked)


TWO_OBJECTS = b'{"objects": [{"object_id": "o1"}, {"object_id": "o2"}]}'


@pytest.mark.parametrize(
    ("status", "code", "objects"), [(200, "OK", 2), (503, "RESOURCE_EXHAUSTED", 0), (418, "INTERNAL", 0)]
)
async def test_an_http_call_leaves_a_row_like_a_grpc_call(status: int, code: str, objects: int) -> None:
    head = b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n\r\n" % (status, len(TWO_OBJECTS))
    found, run, asked = await called(head + TWO_OBJECTS)
    assert found == code
    assert asked.startswith(b"POST /search HTTP/1.1\r\n")
    assert b"content-type: image/jpeg\r\n" in asked
    assert asked.endswith(b"two")
    assert run.objects.tolist() == [objects]
    assert run.good.tolist() == [code == "OK"]
    assert run.request.tolist() == [1]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
async def test_a_connection_that_breaks_is_unavailable(answer: bytes) -> None:
    found, run, _ = await called(answer)
    assert found == "UNAVAILABLE"
    assert not run.good.any()
