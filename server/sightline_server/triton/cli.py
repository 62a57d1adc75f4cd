"""`sightline engine ...`: the commands that set up the embedded engine."""

import os
from pathlib import Path
from typing import Annotated

import typer

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
    force: Annotated[bool, typer.Option("--force", help="Make it again even if it is up to date.")] = False,
) -> None:
    """Installs the embedded Triton under HOME/engine (330 MB; Linux x86-64, Python 3.11 or 3.12). Idempotent."""
    try:
        install_engine(home.expanduser().absolute(), force=force, progress=lambda text: typer.echo(text))
    except SightlineError as error:
        typer.secho(error.message, err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(os.EX_TEMPFAIL) from None
