"""`sightline engine ...`: the commands that set up the embedded engine."""

from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo, echo_lines
from sightline_models.errors import NoHomeError
from sightline_models.places import DEFAULT_HOME, HOME_VARIABLE, find_home
from sightline_server.app.embedded import install_engine
from sightline_server.errors import SightlineError

app = typer.Typer(help="Install the embedded Triton.", add_completion=False, no_args_is_help=True)


@app.callback()
def engine() -> None:
    """Install the embedded Triton, in its own environment."""


@app.command()
def install(
    home: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder for the engine, models and catalogs (default: ${HOME_VARIABLE}, else {DEFAULT_HOME})."
        ),
    ] = None,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--cpu", help="ONNX Runtime with CUDA 13 or without (default: as installed, else without)."),
    ] = None,
    bf16: Annotated[
        bool | None,
        typer.Option(
            "--bf16/--no-bf16",
            help="OpenVINO for a CPU with bf16, or not (default: as installed, else what this CPU has).",
        ),
    ] = None,
    nvidia: Annotated[
        bool, typer.Option("--nvidia/--no-nvidia", help="With --gpu: install NVIDIA's libraries or not.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Install again even if it is up to date.")] = False,
) -> None:
    """Install the embedded Triton in HOME/engine (290 MB, 450 MB with bf16; Linux x86-64, Python 3.11 or 3.12).

    With --gpu it takes 3.3 GB, because NVIDIA's libraries are installed too. Use --no-nvidia if the machine has them.
    """
    try:
        place = find_home({HOME_VARIABLE: str(home)} if home else None)
        if place is None:
            raise NoHomeError
        install_engine(place.absolute(), echo, gpu=gpu, bf16=bf16, nvidia=nvidia, force=force)
    except NoHomeError as error:
        echo(f"sightline: {error}", err=True)
        raise typer.Exit(2) from error
    except SightlineError as error:
        echo_lines(f"sightline: {error.message}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
