"""A shop on tiny models and a real server on it that starts in two seconds, for tests that do it harm.

The models are those of `fault_models`: a photo of one colour chooses a fault. Rule: the server is a process, started as
a user starts it; what a test changes is its settings, its limits and its surroundings.
"""

import csv
import io
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sightline_client.local_server import LocalServer
from tests.support.engine import CHECKOUT
from tests.support.fault_models import build_fault_repository
from tests.support.world import RunningServer, environment

PRODUCTS = 40
TITLE_CHARACTERS = 25_000
"""So long that a whole answer, 5 MB, does not fit into what gRPC and HTTP/2 take for somebody who reads nothing."""

Colour = tuple[int, int, int]
SLOW: Colour = (120, 255, 0)
DETECTOR_RAISES: Colour = (120, 0, 255)
NOT_A_NUMBER: Colour = (255, 0, 0)
SHORT: Colour = (0, 255, 0)
EMBEDDER_RAISES: Colour = (0, 0, 255)
WELL: Colour = (120, 90, 60)


@dataclass(frozen=True)
class SmallShop:
    """A model repository and a catalog that was built with it."""

    repository: Path
    catalog: Path

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a server of this shop."""
        return environment(SIGHTLINE_ENGINE__REPOSITORY=str(self.repository), **more)


def build_small_shop(folder: Path) -> SmallShop:
    """Draws the products and builds the catalog with the real command. Raises when it fails."""
    shop = SmallShop(build_fault_repository(folder / "models"), folder / "catalog")
    (folder / "pictures").mkdir()
    with (folder / "feed.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "title", "product_type", "price", "availability", "link", "image_link"])
        for number in range(PRODUCTS):
            name = f"small-{number:02d}"
            (folder / "pictures" / f"{name}.png").write_bytes(photo_of_cells(number))
            link, picture = f"https://shop.example/{name}", f"pictures/{name}.png"
            rows.writerow([name, name.ljust(TITLE_CHARACTERS, "."), "Art", "1.00 USD", "in_stock", link, picture])
    command = [str(Path(sys.executable).with_name("sightline")), "catalog", "build", str(folder / "feed.csv")]
    command += ["--out", str(shop.catalog)]
    built = subprocess.run(command, env=shop.variables(), capture_output=True, text=True, timeout=100, cwd=CHECKOUT)
    if built.returncode:
        raise RuntimeError(f"the catalog was not built:\n{built.stdout}{built.stderr}")
    return shop


def photo_of_cells(seed: int, size: int = 64) -> bytes:
    """A PNG with the detector's eight cells in different colours; five of them become objects."""
    chance = np.random.default_rng(seed)
    cells = chance.integers((90, 0, 0), (200, 200, 200), (2, 4, 3))
    return encoded(np.kron(cells, np.ones((size // 2, size // 4, 1))).astype(np.uint8))


def photo_of(*colours: Colour, size: int = 64) -> bytes:
    """A PNG with a stripe of equal width for each colour, from left to right."""
    edges = np.arange(size) * len(colours) // size
    return encoded(np.broadcast_to(np.array(colours, np.uint8)[edges], (size, size, 3)))


def encoded(pixels: np.ndarray) -> bytes:
    """uint8 [H,W,3] as a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


PHOTO = photo_of_cells(99)


@contextmanager
def serving(
    shop: SmallShop, log: Path, *arguments: str, prefix: Sequence[str] = (), **variables: str
) -> Iterator[RunningServer]:
    """A server on the shop for the length of the block.

    `arguments` go to `sightline serve`; `prefix` is the program that becomes the server.
    """
    process = LocalServer(
        catalog=shop.catalog,
        prefix=prefix,
        extra_args=arguments,
        env=shop.variables(**variables),
        log=log,
        start_timeout_s=60,
    )
    with process:
        yield RunningServer(process, log)


def serve_command(shop: SmallShop) -> list[str]:
    """The command of a server on free ports."""
    serve = [sys.executable, "-m", "sightline_server", "serve", "--catalog", str(shop.catalog)]
    return [*serve, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]


@contextmanager
def paused_engine(server: RunningServer) -> Iterator[None]:
    """The server's tritonserver does not run for the length of the block; calls wait for it, or for their deadline."""
    (engine,) = server.children()["tritonserver"]
    engine.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        engine.send_signal(signal.SIGCONT)
