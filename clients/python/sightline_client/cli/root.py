"""The `sightline` command. `search`, `eval` and `grant` are the client's own; the others are found by entry point.

Rule: showing the help imports no command of the server; a command that lacks the server's packages says what to install
and exits 2.
"""

import importlib.metadata

import typer

from sightline_client.cli import evaluate, external, grant, search
from sightline_console.terminal import echo

app = typer.Typer(
    name="sightline",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # a local may be a photo
    help="Self-hosted visual shopping: one photo in over gRPC, the ranked products of each object out.",
)


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=lambda value: _version(value), help="Show the version and exit."
    ),
) -> None:
    """Self-hosted visual shopping: one photo in over gRPC, the ranked products of each object out."""


app.command("search")(search.search)
app.command("eval")(evaluate.evaluate)
app.add_typer(grant.app)
external.register(app)


def _version(asked: bool) -> None:
    if asked:
        echo(f"sightline {importlib.metadata.version('sightline')}")
        raise typer.Exit
