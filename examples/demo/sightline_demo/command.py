"""`sightline demo`: the main job on the sample world, from nothing to a page that shows it.

    engine, models -> catalog of the sample feed -> server -> every sample photo -> demo-out/

Rule: it uses the interfaces that users have: the real server, started as a process, searched over gRPC. Processes that
it starts end with it, also on Ctrl-C.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer

from sightline_client import local_server
from sightline_client.answers import Answer
from sightline_client.cli import tables
from sightline_client.errors import SightlineError as ClientError
from sightline_client.options import ClientOptions
from sightline_client.sync import Client
from sightline_console.terminal import echo, echo_lines
from sightline_demo import report
from sightline_demo.catalog import ensure
from sightline_models.places import checkout
from sightline_server.errors import ErrorKind, SightlineError

app = typer.Typer(help="Search the sample photos and write a page with the results.", add_completion=False)

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Showroom:
    """The sample world: a feed with its images, and photos."""

    root: Path

    @property
    def feed(self) -> Path:
        """The product feed."""
        return self.root / "feed.csv"

    @property
    def photos(self) -> list[Path]:
        """The photos in the order of their names."""
        found = (self.root / "photos").glob("*")
        return sorted(path for path in found if path.suffix.lower() in PHOTO_ENDINGS)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page, the annotated images and results.json.")] = Path(
        "demo-out"
    ),
    showroom: Annotated[
        Path | None,
        typer.Option(
            help="Folder with feed.csv, its images, and photos/ (default: examples/showroom of the checkout).",
            file_okay=False,
        ),
    ] = None,
    catalog_only: Annotated[
        bool, typer.Option("--catalog-only", help="Stop after the catalog is built; print its folder.")
    ] = False,
) -> None:
    """Build the sample catalog, search every sample photo through a real server, and write a page with the results."""
    world = _sample_world(showroom)
    if not catalog_only:
        _check_writable(out)
    try:
        catalog = ensure(world.feed, say=_say)
        if catalog_only:
            echo(str(catalog))
            return
        answers = _search(world.photos, catalog)
    except SightlineError as error:
        _fail(error.message, code=2 if error.kind is ErrorKind.CONFIGURATION else 1)
    except ClientError as error:
        _fail(error.one_line() if not isinstance(error, local_server.LocalServerError) else error.message)
    page = report.write(out, world.feed, answers)
    _say(f"{_counts(answers)}; open {page}")


def _sample_world(folder: Path | None) -> Showroom:
    """The sample world in `folder`, else that of the checkout; an installed package has none."""
    source = checkout()
    root = folder or (source and source / "examples" / "showroom")
    if root is None:
        raise typer.BadParameter(
            "the sample world comes with the source checkout, and this is an installed package; "
            "name a folder with feed.csv, its images, and photos/",
            param_hint="--showroom",
        )
    world = Showroom(root)
    if not world.feed.is_file() or not world.photos:
        raise typer.BadParameter(f"there is no feed.csv with photos/ in {root}", param_hint="--showroom")
    return world


def _check_writable(out: Path) -> None:
    """Before the work that would be lost: it takes minutes the first time."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise typer.BadParameter(f"cannot write to {out}: {reason}", param_hint="--out") from None


def _search(photos: list[Path], catalog: Path) -> list[tuple[Path, Answer]]:
    """Every photo's answer, one after the other, each printed as it comes."""
    console = tables.console()
    answers = []
    _say("server: starting")
    with local_server.LocalServer(catalog=catalog) as server:
        _say(f"server: serving on {server.target}")
        with Client(ClientOptions(target=server.target, timeout_s=TIMEOUT_S)) as client:
            for photo in photos:
                answer = client.find(photo.read_bytes())
                answers.append((photo, answer))
                console.print(tables.photo_table(photo.name, answer))
    return answers


def _counts(answers: list[tuple[Path, Answer]]) -> str:
    objects = [each for _, answer in answers for each in answer.objects]
    products = sum(len(each.products) for each in objects)
    return f"{len(answers)} photos, {len(objects)} objects, {products} products ranked"


def _say(text: str) -> None:
    echo_lines(text, err=True)


def _fail(text: str, code: int = 1) -> Any:
    _say(f"sightline demo: {text}")
    sys.exit(code)
