"""Options that the commands on models share."""

from pathlib import Path
from typing import Annotated

import typer

from sightline_models.places import DEFAULT_HOME, HOME_VARIABLE

Repository = Annotated[
    Path | None,
    typer.Option(help="Triton model repository (default: the checkout's, else the one in the home folder)."),
]
Home = Annotated[
    Path | None, typer.Option(help=f"Folder for downloads (default: ${HOME_VARIABLE}, else {DEFAULT_HOME}).")
]
