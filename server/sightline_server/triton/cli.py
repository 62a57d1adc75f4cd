"""`sightline engine ...`: the commands that set up the embedded engine."""

from pathlib import Path
from typing import Annotated

import typer

from sightline_client.terminal import echo, echo_lines
from sightline_server.errors import SightlineError
from sightline_server.triton.install import install as install_engine

DEFAULT_HOME = Path("~/.local/share/sightline")

app = typer.Typer(help="The embedded Triton: its own environment.", no_args_is_help=True)


@app.callback()
def engine() -> None:
    """The embedded Triton: its own environment."""


@app.command()
def install(
    home: Annotated[
        Path, typer.Option(help="Sightline's folder for what it installs and keeps.", envvar="SIGHTLINE_HOME")
    ] = DEFAULT_HOME,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--cpu", help="ONNX Runtime with CUDA 13, or without; unsaid, what is there, else without."),
    ] = None,
    nvidia: Annotated[
        bool, typer.Option("--nvidia/--no-nvidia", help="With --gpu: bring NVIDIA's libraries, or leave them out.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Make it again even if it is up to date.")] = False,
) -> None:
    """Installs the embedded Triton under HOME/engine (330 MB; Linux x86-64, Python 3.11 or 3.12). Idempotent.

    With --gpu 3.3 GB: NVIDIA's libraries come along, unless --no-nvidia says that the loader finds them here.
    """
    place = home.expanduser().absolute()
    try:
        install_engine(place, gpu=gpu, nvidia=nvidia, force=force, progress=echo)
    except SightlineError as error:
        echo_lines(f"sightline: {error.message}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
