"""`sightline catalog index`: tries the indexes that a large catalog could have, and records the cheapest right one.

Rule: one table on standard output, progress on standard error. Exit code 0 when a choice was recorded or none was
needed, 2 when an argument is wrong, 1 when the record could not be written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console.terminal import echo
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.loading import ConfigFile, load

if TYPE_CHECKING:
    from sightline_server.index.choice.candidates import Candidate
    from sightline_server.index.choice.choosing import IndexPolicy
    from sightline_server.index.choice.record import IndexRecord
    from sightline_server.index.choice.trying import Tried
    from sightline_server.index.opened_catalog import Catalog

MB = 1_000_000
ADAPTED = "exact search: the catalog has an adapter (sightline adapt), and every vector is compared"
HEAD = f"{'index':<15} {'recall@10':>9} {'p50 ms':>8} {'p99 ms':>8} {'MB':>8} {'build s':>8}"


def index(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="The catalog's folder.")],
    candidates: Annotated[
        str,
        typer.Option(metavar="NAME,...", help="Indexes to try, also on a small catalog (default: all that apply)."),
    ] = "",
    config: ConfigFile = None,
) -> None:
    """Choose the index of a large catalog by measurements, and record it.

    Up to the setting index.exact_mib every vector is compared and there is nothing to choose. Above it each candidate
    is built and measured on the catalog's own vectors; the cheapest one that finds 95 % of the nearest vectors is
    recorded in the catalog's folder. A running server takes it with the next revision or its next start.
    """
    from sightline_server.app.limits import index_policy
    from sightline_server.index.catalog import open_catalog
    from sightline_server.index.choice.candidates import named

    with failures("the choice recorded before, if there is one, stays"):
        policy = index_policy(load(config).index)
        wanted = named([name.strip() for name in candidates.split(",") if name.strip()])
        opened = open_catalog(catalog)
        if opened.adapter is not None:
            echo(f"{catalog}: {ADAPTED}")
            return
        if policy.is_exact(opened.vectors) and not wanted:
            echo(exact_text(opened, policy))
            return
        record = choose_aloud(opened, policy, wanted)
    echo(f"{catalog}: {chosen_text(record)}")
    if policy.is_exact(opened.vectors):
        echo(f"searched exactly all the same: {exact_text(opened, policy)}")


def choose_for_large(catalog: Path, policy: "IndexPolicy") -> None:
    """Chooses the index of a catalog that was just built, where it is too large for exact search."""
    from sightline_server.index.catalog import open_catalog, read_facts

    facts = read_facts(catalog)
    if 4 * facts.vectors * facts.embedder.dimension <= policy.exact_bytes:
        return
    echo("choosing an index", err=True)
    echo(f"  index {chosen_text(choose_aloud(open_catalog(catalog), policy))}")


def choose_aloud(catalog: "Catalog", policy: "IndexPolicy", wanted: "Sequence[Candidate]" = ()) -> "IndexRecord":
    """Chooses and records the index of `catalog`, and prints the table of all candidates."""
    from sightline_server.index.choice.building import in_steps
    from sightline_server.index.choice.choosing import choose_index
    from sightline_server.index.faiss_index import library_facts

    total = len(catalog.vectors)
    echo(HEAD)
    return choose_index(
        catalog,
        policy,
        wanted,
        gpu=library_facts().gpus > 0,
        done=lambda tried: echo(row_of(tried)),
        progress=lambda name: in_steps(total, lambda done: echo(f"{name}: {done} of {total} vectors", err=True)),
    )


def row_of(tried: "Tried") -> str:
    """One line of the table."""
    if tried.note:
        return f"{tried.name:<15} {tried.note}"
    times = f"{tried.p50_ms:8.2f} {tried.p99_ms:8.2f}" if tried.right else f"{'-':>8} {'-':>8}"
    return f"{tried.name:<15} {tried.recall:9.3f} {times} {tried.size / MB:8.1f} {tried.build_s:8.1f}"


def chosen_text(record: "IndexRecord") -> str:
    """The choice, for a reader."""
    chosen = record.chosen
    effort = "" if record.exact else f", effort {chosen.effort}"
    return (
        f"{chosen.name}{effort}: recall@10 {chosen.recall:.3f}, {chosen.p50_ms:.2f} ms (p99 {chosen.p99_ms:.2f} ms), "
        f"{chosen.size / MB:.1f} MB, chosen {record.chosen_at} for revision {record.revision}"
    )


def exact_text(catalog: "Catalog", policy: "IndexPolicy") -> str:
    """The reason why a small catalog has nothing to choose."""
    mib = 1024 * 1024
    return (
        f"exact search: {4 * catalog.vectors.size / mib:.1f} MiB of vectors, "
        f"up to {policy.exact_bytes / mib:.0f} MiB are all compared (index.exact_mib)"
    )


def info_text(catalog: "Catalog", policy: "IndexPolicy") -> str:
    """The index that a server uses for `catalog`, and its recall where that was measured."""
    from sightline_server.index.choice.choosing import recorded

    if catalog.adapter is not None:
        return ADAPTED
    if policy.is_exact(catalog.vectors):
        return exact_text(catalog, policy)
    record = recorded(catalog.path, catalog.facts.content_sha256)
    if record is None:
        return f"none chosen for this revision; choose one with: sightline catalog index {catalog.path}"
    return chosen_text(record)
