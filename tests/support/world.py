"""A shop of drawn products and a real server on it: the catalog is built by `sightline catalog build`, the server is a
process, and what is between them is the real Triton with the real models.
"""

import asyncio
import csv
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from PIL import Image, ImageDraw, ImageFilter

from load_tests.observe.processes import below
from sightline.v1 import geometry_pb2, lens_service_pb2, lens_service_pb2_grpc
from sightline_client.local_server import LocalServer
from tests.support.engine import CHECKOUT, sightline_home
from tests.support.lens import Failed, failed

COLOURS = ("firebrick", "steelblue", "gold", "seagreen", "purple", "black")
SHAPES = ("ellipse", "rectangle", "polygon", "chord")
PRODUCTS = 12
WHOLE = geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=0, y_min=0, x_max=1, y_max=1))


def draw_product(number: int, size: int = 320) -> Image.Image:
    """The studio image of product `number`: a distinct shape in a distinct colour and pattern."""
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    colour, shape = COLOURS[number % len(COLOURS)], SHAPES[number % len(SHAPES)]
    place = (size * 0.15, size * 0.2, size * 0.85, size * 0.8)
    if shape == "polygon":
        draw.regular_polygon((size / 2, size / 2, size * 0.35), 3 + number % 5, fill=colour)
    elif shape == "chord":
        draw.chord(place, 20, 300, fill=colour)
    else:
        getattr(draw, shape)(place, fill=colour)
    for line in range(number + 1):
        y = size * (0.25 + 0.5 * line / (number + 1))
        draw.line((size * 0.2, y, size * 0.8, y + number % 3 * 9), fill="white", width=3 + number % 4)
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def draw_photo(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """A photo with three products of the shop on a noisy ground."""
    chance = np.random.default_rng(seed)
    ground = chance.integers(90, 160, (size[1] // 8, size[0] // 8, 3), np.uint8)
    photo = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
    for place, number in enumerate(chance.choice(PRODUCTS, 3, replace=False)):
        photo.paste(draw_product(int(number), 120), (20 + 150 * place, 60 + int(chance.integers(0, 150))))
    return photo


@dataclass(frozen=True)
class World:
    """A catalog on disk and the images it was built from."""

    catalog: Path
    pictures: Path

    def picture(self, number: int) -> bytes:
        """The encoded catalog image of product `number`."""
        return (self.pictures / f"{product_id(number)}.png").read_bytes()


def product_id(number: int) -> str:
    """The id of product `number`."""
    return f"drawn-{number:02d}"


def write_feed(folder: Path) -> Path:
    """Draws the products into `folder/pictures` and writes `folder/feed.csv`; returns the former."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    with (folder / "feed.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "title", "product_type", "price", "availability", "link", "image_link"])
        for number in range(PRODUCTS):
            name = product_id(number)
            draw_product(number).save(pictures / f"{name}.png")
            rows.writerow(
                [
                    name,
                    f"Drawn {number}",
                    "Art",
                    "15.00 USD",
                    "in_stock",
                    f"https://shop.example/{name}",
                    f"pictures/{name}.png",
                ]
            )
    return pictures


def build_world(folder: Path) -> World:
    """Draws the products, writes the feed, builds the catalog. Raises when the command fails."""
    pictures = write_feed(folder)
    sightline = str(Path(sys.executable).with_name("sightline"))
    command = [sightline, "catalog", "build", str(folder / "feed.csv"), "--out", str(folder / "catalog")]
    built = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200, cwd=CHECKOUT)
    if built.returncode:
        raise RuntimeError(f"the catalog was not built:\n{built.stdout}{built.stderr}")
    return World(folder / "catalog", pictures)


def environment(**more: str) -> dict[str, str]:
    """The variables of a server of ours: the installed engine, and no settings of the user who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    return {**kept, "SIGHTLINE_HOME": str(sightline_home()), **more}


@dataclass
class RunningServer:
    """A server process, and the way to it."""

    process: LocalServer
    log: Path

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    @property
    def target(self) -> str:
        """HOST:PORT of its gRPC service."""
        return self.process.target

    def children(self) -> dict[str, list[psutil.Process]]:
        """Every process below the server by its role."""
        return below(self.pid)


@contextmanager
def running(world: World, log: Path, *, prefix: Sequence[str] = (), **variables: str) -> Iterator[RunningServer]:
    """A server on the world's catalog for the length of the block."""
    process = LocalServer(
        catalog=world.catalog, env=environment(**variables), log=log, start_timeout_s=120, prefix=prefix
    )
    with process:
        yield RunningServer(process, log)


def asked(photo: bytes, **fields: Any) -> lens_service_pb2.SearchRequest:
    """A request for a photo."""
    return lens_service_pb2.SearchRequest(photo=photo, **fields)


@dataclass
class Answer:
    """A search that succeeded: its objects, and by object id the products or the failure."""

    objects: list[lens_service_pb2.DetectedObject]
    products: dict[str, list[Any]]
    failures: dict[str, Any]
    done: lens_service_pb2.Done

    def best(self) -> str:
        """The id of the first object's best product."""
        return str(self.products[self.objects[0].object_id][0].product.id)


async def search(channel: grpc.aio.Channel, request: lens_service_pb2.SearchRequest, timeout_s: float = 20.0) -> Answer:
    """One search through a real channel. Raises `grpc.aio.AioRpcError`."""
    call: Any = lens_service_pb2_grpc.LensServiceStub(channel).Search(request, timeout=timeout_s)
    answer = Answer([], {}, {}, lens_service_pb2.Done())
    order = []
    async for event in call:
        kind = event.WhichOneof("event")
        order.append(kind)
        if kind == "detected":
            answer.objects += event.detected.objects
        elif kind == "results":
            answer.products[event.results.object_id] = list(event.results.products)
        elif kind == "failure":
            answer.failures[event.failure.object_id] = event.failure
        elif kind == "done":
            answer.done = event.done
    assert order[:2] == ["accepted", "detected"]
    assert order[-1] == "done"
    assert {each.object_id for each in answer.objects} == set(answer.products) | set(answer.failures)
    return answer


async def refused(
    channel: grpc.aio.Channel, request: lens_service_pb2.SearchRequest, timeout_s: float = 20.0
) -> Failed:
    """One search that must fail."""
    return await failed(lens_service_pb2_grpc.LensServiceStub(channel).Search(request, timeout=timeout_s))


async def patient_search(channel: grpc.aio.Channel, request: lens_service_pb2.SearchRequest, tries: int = 40) -> Answer:
    """A search that comes again when the server is full, as a polite caller does."""
    for _ in range(tries):
        try:
            return await search(channel, request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        await asyncio.sleep(0.25)
    raise AssertionError("the server was full all the time")
