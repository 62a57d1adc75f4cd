"""`sightline search` and `sightline eval` as a user runs them, against a LensService that plays a script."""

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from PIL import Image

from sightline_client import events
from tests.support.fake_lens import ANSWER, CHAIR, FakeLens, ranked, serving, status_of, unavailable

DONE = events.Done(events.StageTimings(1, 2, 3, 4, 5, 6, 7, 28), "rev-1", "detector@1", "embedder@1", "req-1")


async def sightline(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from sightline_client.cli import main; main()", *arguments]
    return await asyncio.to_thread(subprocess.run, command, input=stdin, capture_output=True, timeout=30, check=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 40 x 20 pixels that EXIF turns upright to 20 x 40."""
    picture = Image.new("RGB", (40, 20), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


async def test_json_prints_each_event_in_protobufs_mapping(photo: Path) -> None:
    async with serving(FakeLens()) as target:
        ran = await sightline("search", str(photo), "--target", target, "--json")
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [next(iter(line)) for line in lines] == ["accepted", "detected", "results", "failure", "done"]
    found = lines[1]["detected"]["objects"][1]
    assert found["objectId"] == "o2"
    assert found["box"] == {"xMin": 0.0, "yMin": 0.0, "xMax": 0.125, "yMax": 0.25}
    product = lines[2]["results"]["products"][0]
    assert (product["rank"], product["level"], product["product"]["itemGroupId"]) == (1, "MATCH_LEVEL_SIMILAR", "g1")
    assert lines[4]["done"]["timings"]["totalMs"] == 28


async def test_the_table_names_products_and_reasons(photo: Path) -> None:
    async with serving(FakeLens()) as target:
        ran = await sightline("search", str(photo), "--target", target)
    text = ran.stdout.decode()
    assert ran.returncode == 0, ran.stderr
    for expected in ("2 objects", "vase", "p1", "0.500", "similar", "cannot be used", "rev-1"):
        assert expected in text


async def test_a_photo_from_a_named_pipe_is_sent(tmp_path: Path) -> None:
    fake, photo, pipe = FakeLens(), b"the photo's bytes", tmp_path / "pipe"
    os.mkfifo(pipe)
    async with serving(fake) as target:
        ran, _ = await asyncio.gather(
            sightline("search", str(pipe), "--target", target), asyncio.to_thread(pipe.write_bytes, photo)
        )
    assert ran.returncode == 0, ran.stderr
    assert [request.photo for request in fake.requests] == [photo]


async def test_regions_and_limits_are_sent_and_the_photo_may_come_by_pipe() -> None:
    fake, photo = FakeLens(), b"the photo's bytes"
    async with serving(fake) as target:
        ran = await sightline(
            *("search", "-", "--target", target, "--box", "0,0.25,0.5,1", "--tap", "0.5,0.25"),
            *("--max-objects", "2", "--max-products", "3", "--one-per-group"),
            stdin=photo,
        )
    assert ran.returncode == 0, ran.stderr
    (request,) = fake.requests
    assert request.photo == photo
    assert (request.regions[0].box.y_min, request.regions[1].tap.y) == (0.25, 0.25)
    assert (request.max_objects, request.max_products) == (2, 3)
    assert request.one_per_group


async def test_further_objects_of_a_second_round_are_shown(photo: Path) -> None:
    cup = events.DetectedObject("o3", events.Box(0.5, 0.5, 0.625, 0.75), "cup", 0.5, events.ObjectSource.DETECTOR)
    further = (events.Detected((cup,), 1, further=True), events.ObjectResults("o3", (ranked("p9", 1),)))
    skipping = dataclasses.replace(DONE, skipped=(events.SkippedStep.LOOK_CLOSER,))
    fake = FakeLens(lambda call: (*ANSWER[:-1], *(further if call == 1 else ()), DONE if call == 1 else skipping))
    async with serving(fake) as target:
        command = ("search", str(photo), "--target", target, "--look-closer")
        ran, left_out = await sightline(*command), await sightline(*command)
    assert (ran.returncode, left_out.returncode) == (0, 0), ran.stderr + left_out.stderr
    assert [request.look_closer for request in fake.requests] == [True, True]
    text = ran.stdout.decode()
    for expected in ("2 objects\n", "1 further object, 1 person greyed out", "3 cup", "p9"):
        assert expected in text
    assert "smaller objects were not searched for" in left_out.stdout.decode()


async def test_a_filter_is_sent_and_shown_as_it_was_applied(photo: Path) -> None:
    plan = events.FilterPlan(events.FilterPlanKind.GATHER, 12, 15)
    done = dataclasses.replace(DONE, applied_filter="brand=Norrvik price=..50 USD", filter_plan=plan)
    fake = FakeLens(lambda _: (*ANSWER[:-1], done))
    async with serving(fake) as target:
        command = ("search", str(photo), "--target", target, "--filter", "brand=Norrvik price<=50 USD available")
        ran, as_json = await sightline(*command), await sightline(*command, "--json")
    assert (ran.returncode, as_json.returncode) == (0, 0), ran.stderr + as_json.stderr
    for request in fake.requests:
        assert list(request.filter.brands) == ["Norrvik"]
        assert (request.filter.price.currency, request.filter.price.maximum) == ("USD", 50.0)
        assert not request.filter.price.HasField("minimum")
        assert list(request.filter.availabilities) == ["in_stock"]
    assert "brand=Norrvik price=..50 USD: 12 products match (gather)" in " ".join(ran.stdout.decode().split())
    shown = json.loads(as_json.stdout.splitlines()[-1])["done"]
    assert shown["appliedFilter"] == "brand=Norrvik price=..50 USD"
    assert shown["filterPlan"] == {"kind": "FILTER_PLAN_KIND_GATHER", "products": "12", "images": "15"}


async def test_an_object_without_products_is_one_line_without_a_table(photo: Path) -> None:
    empty = [
        dataclasses.replace(each, products=()) if isinstance(each, events.ObjectResults) else each for each in ANSWER
    ]
    async with serving(FakeLens(lambda _: tuple(empty))) as target:
        ran = await sightline("search", str(photo), "--target", target)
    text = ran.stdout.decode()
    assert ran.returncode == 0, ran.stderr
    assert text.count("no product matches") == 1
    assert "similarity" not in text


async def test_a_filter_that_cannot_be_read_is_shown_with_its_position(photo: Path) -> None:
    fake = FakeLens()
    async with serving(fake) as target:
        ran = await sightline("search", str(photo), "--target", target, "--filter", "brand=Norrvik price<=50 dollars")
    said = ran.stderr.decode().splitlines()
    assert ran.returncode == 2
    assert "character 25: expected a currency" in said[0]
    assert said[1] == "brand=Norrvik price<=50 dollars"
    assert said[2] == " " * 24 + "^"
    assert fake.requests == []


@pytest.mark.parametrize("empty", ["", "  "])
async def test_an_empty_filter_is_refused_and_is_not_a_search_of_everything(photo: Path, empty: str) -> None:
    fake = FakeLens()
    async with serving(fake) as target:
        ran = await sightline("search", str(photo), "--target", target, "--filter", empty)
    assert ran.returncode == 2
    assert "it is empty" in ran.stderr.decode()
    assert fake.requests == []


async def test_annotate_draws_on_the_upright_photo(photo: Path, tmp_path: Path) -> None:
    async with serving(FakeLens()) as target:
        ran = await sightline("search", str(photo), "--target", target, "--annotate", str(tmp_path / "out.png"))
    assert ran.returncode == 0, ran.stderr
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (20, 40)
        colours = drawn.getcolors()
        assert colours is not None
        assert len(colours) > 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "nowhere.jpg"], "nowhere.jpg"),
        (["search", "-", "--box", "1,2"], "x0,y0,x1,y1"),
        (["search", "-", "--tap", "a,b"], "x,y"),
        (["search"], "PHOTO"),
        (["eval", "nowhere.csv", "--target", "localhost:1"], "nowhere.csv"),
        (["eval", "nowhere.csv", "--target", "shop:1"], "use --tls (or --tls-ca FILE), or --insecure"),
        (["eval", "nowhere.csv", "--target", "shop:1", "--insecure"], "nowhere.csv"),
        (["eval", "nowhere.csv", "--target", "shop:1", "--tls"], "nowhere.csv"),
        (["nothing"], "nothing"),
    ],
)
async def test_usage_errors_exit_2(arguments: Sequence[str], said: str) -> None:
    ran = await sightline(*arguments)
    assert ran.returncode == 2
    assert said in ran.stderr.decode()
    assert b"Traceback" not in ran.stderr


async def test_a_refusal_is_one_line_with_code_reason_and_request(photo: Path) -> None:
    info = error_details_pb2.ErrorInfo(reason="UNKNOWN_CATALOG", metadata={"request_id": "r-9"})
    refusal = status_of(grpc.StatusCode.NOT_FOUND, "no catalog of this name", info)
    async with serving(FakeLens(lambda _: [refusal])) as target:
        ran = await sightline("search", str(photo), "--target", target, "--catalog", "shoes")
    assert ran.returncode == 1
    assert ran.stderr.decode().strip() == (
        "sightline: no catalog of this name (NOT_FOUND, UNKNOWN_CATALOG, request r-9)"
    )


async def test_unreadable_certificates_are_named(photo: Path) -> None:
    ran = await sightline("search", str(photo), "--tls-ca", "/nowhere/ca.pem")
    assert ran.returncode == 1
    assert "/nowhere/ca.pem" in ran.stderr.decode()


def write_queries(folder: Path, product_ids: Sequence[str], box: str = "") -> Path:
    lines = ["image,product_id,box" if box else "image,product_id"]
    for number, product_id in enumerate(product_ids):
        (folder / f"{number}.jpg").write_bytes(product_id.encode())
        lines.append(f'{number}.jpg,{product_id},"{box}"' if box else f"{number}.jpg,{product_id}")
    (folder / "queries.csv").write_text("\n".join(lines) + "\n")
    return folder / "queries.csv"


def answer_with(*product_ids: str) -> list[events.Event]:
    products = tuple(ranked(product_id, rank) for rank, product_id in enumerate(product_ids, 1))
    return [ANSWER[0], events.Detected((CHAIR,)), events.ObjectResults("o1", products), ANSWER[-1]]


async def test_eval_prints_one_object_of_figures(tmp_path: Path) -> None:
    queries = write_queries(tmp_path, ["a", "b", "c", "x"])
    fake = FakeLens(lambda _: answer_with("a", "b", "c"))
    async with serving(fake) as target:
        ran = await sightline("eval", str(queries), "--target", target, "--regions", "whole", "--json")
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert (figures["hit@1"], figures["hit@5"], figures["hit@10"], figures["n"]) == (0.25, 0.75, 0.75, 4)
    assert figures["mrr@10"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 4, abs=1e-6)
    assert figures["stages"]["total_ms"] == {"mean": 28.0, "p50": 28.0}
    boxes = [request.regions[0].box for request in fake.requests]
    assert {(box.x_min, box.y_min, box.x_max, box.y_max) for box in boxes} == {(0.0, 0.0, 1.0, 1.0)}
    assert sorted(request.photo for request in fake.requests) == [b"a", b"b", b"c", b"x"]


async def test_eval_uses_the_files_boxes_where_it_has_them(tmp_path: Path) -> None:
    queries = write_queries(tmp_path, ["a"], box="0.25,0.25,0.5,0.75")
    fake = FakeLens(lambda _: answer_with("a"))
    async with serving(fake) as target:
        ran = await sightline("eval", str(queries), "--target", target, "--json")
        await sightline("eval", str(queries), "--target", target, "--json", "--regions", "detect")
    assert json.loads(ran.stdout)["regions"] == "box"
    assert fake.requests[0].regions[0].box.y_max == 0.75
    assert not fake.requests[1].regions


async def test_eval_counts_people_as_misses_with_a_word_and_exits_0(tmp_path: Path) -> None:
    refusal = events.ObjectFailure("o1", events.FailureReason.PERSON, "people are not searched")
    noticed = dataclasses.replace(DONE, notice=events.Notice.PERSON_ONLY)
    hurried = dataclasses.replace(DONE, skipped=(events.SkippedStep.PRINTED_TEXT,))
    scripts: dict[bytes, list[events.Event]] = {
        b"a": [*answer_with("a")[:-1], hurried],
        b"b": [ANSWER[0], events.Detected((CHAIR,)), refusal, DONE],
        b"c": [ANSWER[0], events.Detected(()), noticed],
    }
    fake = FakeLens(lambda call: scripts[fake.requests[call - 1].photo])
    async with serving(fake) as target:
        queries = write_queries(tmp_path, ["a", "b", "c"])
        ran = await sightline("eval", str(queries), "--target", target, "--in-flight", "1", "--json")
        fake.requests.clear()
        shown = await sightline("eval", str(queries), "--target", target, "--in-flight", "1")
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert (figures["hit@1"], figures["failed"], figures["person"], figures["skipped"]) == (0.333333, 0, 2, 1)
    assert [line.split() for line in shown.stdout.decode().splitlines() if "person" in line] == [["person", "2"]]


async def test_eval_counts_failures_as_misses_and_exits_1(tmp_path: Path) -> None:
    queries = write_queries(tmp_path, ["a", "b"])
    script = lambda call: answer_with("a", "b") if call == 1 else [ANSWER[0], unavailable()]  # noqa: E731
    fake = FakeLens(script)
    async with serving(fake) as target:
        ran = await sightline("eval", str(queries), "--target", target, "--in-flight", "1", "--json")
        fake.requests.clear()
        allowed = await sightline("eval", str(queries), "--target", target, "--in-flight", "1", "--allow-failures")
    figures = json.loads(ran.stdout)
    assert (figures["hit@1"], figures["failed"], figures["n"]) == (0.5, 1, 2)
    assert ran.returncode == 1
    assert b"the engine is not ready" in ran.stderr
    assert allowed.returncode == 0


async def test_eval_steps_back_from_a_busy_server_and_asks_again(tmp_path: Path) -> None:
    queries = write_queries(tmp_path, ["a"])
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(1_000_000)
    busy = status_of(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls at once", retry)
    fake = FakeLens(lambda call: [busy] if call < 3 else answer_with("a"))
    async with serving(fake) as target:
        ran = await sightline("eval", str(queries), "--target", target, "--json")
    assert ran.returncode == 0, ran.stderr
    assert (json.loads(ran.stdout)["hit@1"], len(fake.requests)) == (1.0, 3)


async def test_eval_needs_a_server_of_some_kind(tmp_path: Path) -> None:
    queries = write_queries(tmp_path, ["a"])
    ran = await sightline("eval", str(queries))
    assert ran.returncode == 2
    assert b"--catalog" in ran.stderr


async def test_eval_names_products_that_no_answer_had(tmp_path: Path) -> None:
    queries = write_queries(tmp_path, ["a", "b", "x", "x"])
    fake = FakeLens(lambda _: answer_with("a", "b", "c"))
    async with serving(fake) as target:
        ran = await sightline("eval", str(queries), "--target", target, "--json")
    assert ran.returncode == 0
    assert ran.stderr.decode() == (
        "sightline: 1 of 3 product ids were in no answer, so the catalog may not have them: x\n"
    )
    assert "not_in_catalog" not in json.loads(ran.stdout)


async def test_eval_names_missing_images_before_it_asks(tmp_path: Path) -> None:
    queries = write_queries(tmp_path, ["a", "b"])
    (tmp_path / "1.jpg").unlink()
    fake = FakeLens(lambda _: answer_with("a"))
    async with serving(fake) as target:
        ran = await sightline("eval", str(queries), "--target", target)
        assert (ran.returncode, fake.requests) == (2, [])
        assert "1 of 2 images of" in ran.stderr.decode()
        assert "1.jpg" in ran.stderr.decode()
        allowed = await sightline("eval", str(queries), "--target", target, "--allow-failures", "--json")
    assert allowed.returncode == 0
    assert json.loads(allowed.stdout)["failed"] == 1


async def test_a_text_goes_with_the_photo(photo: Path) -> None:
    weighed = dataclasses.replace(DONE, text_weight=0.25)
    fake = FakeLens(lambda _: (*ANSWER[:-1], weighed))
    async with serving(fake) as target:
        command = ("search", str(photo), "--target", target)
        ran = await sightline(*command, "--text", "in blue", "--text-weight", "0.25")
        plain = await sightline(*command)
        wrong = await sightline(*command, "--text", "in blue", "--text-weight", "1.5")
        alone = await sightline(*command, "--text-weight", "0.5")
    assert (ran.returncode, plain.returncode) == (0, 0), ran.stderr + plain.stderr
    first, second = fake.requests
    assert (first.text, first.text_weight) == ("in blue", 0.25)
    assert not second.HasField("text") and not second.HasField("text_weight")
    assert "text of weight 0.25" in ran.stdout.decode() and "in blue" not in ran.stdout.decode()
    assert (wrong.returncode, alone.returncode) == (2, 1)
    assert b"text_weight is for searches with a text" in alone.stderr
