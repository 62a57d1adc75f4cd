"""Commands of other packages: Typer apps in the entry-point group `sightline.commands`, imported when they are called.

Rule: a missing third-party module is a missing extra, and the message names the extra; every other failure is left to
`entry`. Commands of the server find in their context how they reach a running server, because they may not import the
client.
"""

from importlib.metadata import EntryPoint, entry_points

import typer

from sightline_client.cli import remote_catalog
from sightline_console import entry
from sightline_console.terminal import echo

GROUP = "sightline.commands"
OURS = ("sightline", "sightline_client", "sightline_models", "sightline_privacy", "sightline_server")
NEEDS_SERVER = 'this command needs the server: pip install "sightline[cpu]"'

SUMMARIES = {
    "adapt": "Adapt the search of a catalog to photos of its shop.",
    "audit": "Verify and read the audit log.",
    "catalog": "Build, change, export, inspect and reload catalogs.",
    "demo": "Search the sample photos and write a page with the results.",
    "doctor": "Check whether this machine has what the server needs.",
    "engine": "Install the embedded Triton.",
    "keys": "Make, list and revoke API keys.",
    "models": "Fetch models, choose among them and add embedders; check and list all models.",
    "privacy": "Check a running server for the promises about photos.",
    "serve": "Run the server.",
}
"""The help lines of the commands that are known here, because asking the commands would import them."""


def register(root: typer.Typer) -> None:
    """Adds one command per entry point to `root`, in the order of their names."""
    for command in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        _add(root, command)


def _add(root: typer.Typer, command: EntryPoint) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

    @root.command(
        command.name,
        help=SUMMARIES.get(command.name, f"From {command.value.partition(':')[0]}."),
        context_settings=settings,
        add_help_option=False,
        rich_help_panel="Server",
    )
    def run(context: typer.Context) -> None:
        _run(command, context.args)


def _run(command: EntryPoint, arguments: list[str]) -> None:
    try:
        code = entry.invoke(command.load(), arguments, f"sightline {command.name}", obj=remote_catalog.connect)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] in OURS:
            raise
        echo(f"sightline {command.name}: {NEEDS_SERVER} (no module {missing.name})", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(code)
