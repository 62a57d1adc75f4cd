"""`sightline catalog`: its verbs, of which `info` and `ids` are here; the others have separate modules.

Rule: progress goes to standard error, the result to standard output. Exit code 0 when there is a catalog, 1 when
the build failed, 2 when what was asked for is wrong, 130 after Ctrl-C; only 0 leaves a catalog behind.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo, echo_lines, printable
from sightline_server.cli.adapter_text import described, described_verdict, described_weights
from sightline_server.cli.catalog_build import build
from sightline_server.cli.catalog_delete import delete
from sightline_server.cli.catalog_export import export
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.catalog_index import index, info_text
from sightline_server.cli.catalog_push import push
from sightline_server.cli.catalog_reembed import reembed
from sightline_server.cli.catalog_reload import reload
from sightline_server.cli.catalog_replication import follow, publish
from sightline_server.cli.catalog_revisions import compact, revisions, rollback, verify
from sightline_server.cli.catalog_update import update
from sightline_server.cli.catalog_upsert import upsert
from sightline_server.cli.loading import load
from sightline_server.cli.originals_options import features_text, originals_text
from sightline_server.cli.views_options import images_text

ACTIVATE = """Search with a prepared revision, such as one of `catalog reembed`, from now on; the same as `rollback`.

This makes a new revision; nothing is removed, so that another activation undoes it. A running server takes it with:
sightline catalog reload.
"""
app = typer.Typer(
    help="Build, change, export, inspect and reload catalogs.", add_completion=False, no_args_is_help=True
)
app.command()(build)


@app.command()
def info(catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="The catalog's folder.")]) -> None:
    """Read a catalog, check that it is complete, and show what it contains."""
    from sightline_server.app.limits import index_policy
    from sightline_server.index.catalog import open_catalog

    with failures():
        policy = index_policy(load().index)
        opened = open_catalog(catalog, may_be_empty=True)
        originals, features = originals_text(catalog), features_text(catalog)
    facts = opened.facts
    embedder = facts.embedder
    echo(f"catalog     {catalog}")
    echo(f"revision    {opened.revision}")
    echo(f"built       {facts.built_at}")
    echo(f"products    {facts.products}")
    echo(f"images      {images_text(opened)}")
    echo(f"embedder    {embedder.identity}, {embedder.dimension} numbers, input {embedder.width}x{embedder.height}")
    echo(f"index       {info_text(opened, policy)}")
    if opened.adapter is not None and opened.content is not None:
        echo(f"adapter     {opened.content.revision.adapter[:12]}, {described(opened.adapter.facts)}")
    if opened.weights is not None:
        echo(f"weights     {described_weights(opened.weights)}")
    if opened.verdict is not None:
        echo(f"verdict     {described_verdict(opened.verdict)}")
    if originals:
        echo(f"originals   {originals}")
    if features:
        echo(f"features    {features}")


@app.command()
def ids(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="The catalog's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the ids of all products in a catalog, one on each line."""
    from sightline_server.index.catalog import open_catalog

    with failures():
        listed: list[str] = open_catalog(catalog, may_be_empty=True).display["id"].to_pylist()
    echo_lines(json.dumps(listed) if as_json else "\n".join(map(printable, listed)))


app.command()(index)
app.command()(upsert)
app.command()(update)
app.command()(delete)
app.command()(export)
app.command()(revisions)
app.command()(rollback)
app.command("activate", help=ACTIVATE)(rollback)
app.command()(reembed)
app.command()(verify)
app.command()(compact)
app.command()(push)
app.command()(publish)
app.command()(follow)
app.command()(reload)
