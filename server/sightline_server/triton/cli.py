"""`sightline engine ...`: the commands that set up the embedded engine."""

from pathlib import Path
from typing import Annotated

import typer

from sightline_client.terminal import echo, echo_lines
from sightline_server.errors import SightlineError
from sightline_server.triton.install import install as install_engine

DEFAULT_HOME = Path("~/.local/share/sightline")

app = typer.Typer(help="Install the embedded Triton.", add_completion=False, no_args_is_help=True)


@app.callback()
def engine() -> None:
    """Install the embedded Triton, in an environment of its own."""


@app.command()
def install(
    home: Annotated[
        Path, typer.Option(help="Sightline's folder for the engine, models and catalogs.", envvar="SIGHTLINE_HOME")
    ] = DEFAULT_HOME,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--cpu", help="ONNX Runtime with CUDA 13 or without (default: as installed, else without)."),
    ] = None,
    nvidia: Annotated[
        bool, typer.Option("--nvidia/--no-nvidia", help="With --gpu: install NVIDIA's libraries or not.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Install again even if it is up to date.")] = False,
) -> None:
    """Install the embedded Triton in HOME/engine (330 MB; Linux x86-64, Python 3.11 or 3.12).

    With --gpu it takes 3.3 GB, because NVIDIA's libraries are installed too. Use --no-nvidia if the machine has them.
    """
    place = home.expanduser().absolute()
    try:
        install_engine(place, gpu=gpu, nvidia=nvidia, force=force, progress=echo)
    except SightlineError as error:
        echo_lines(f"sightline: {error.message}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
