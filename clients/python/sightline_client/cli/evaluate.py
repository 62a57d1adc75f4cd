"""`sightline eval QUERIES.csv`: sends every query through gRPC and prints how often the right product came first.

Rule: the served path is measured; with `--catalog` the command starts its own server and stops it.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sightline_client.aio import AsyncClient
from sightline_client.answers import Answer
from sightline_client.cli import connection
from sightline_client.cli.external import NEEDS_SERVER
from sightline_client.cli.query_checks import checked_queries, report_unknown_products
from sightline_client.errors import OverloadedError, SightlineError
from sightline_client.evaluation import DEPTH, Outcome, Query, Regions, best_rank, choose_regions, report
from sightline_client.events import FailureReason, Lane, Notice, Region
from sightline_client.local_server import LocalServer
from sightline_client.options import ClientOptions
from sightline_client.queries import QueryFileError, listed
from sightline_client.values import INT32_MAX
from sightline_console.terminal import echo

SHOWN_FAILURES = 5
PATIENCE_S = 120.0
"""Longest time in seconds for which a query is retried while the server is too busy for it."""


def evaluate(
    queries: Annotated[
        Path,
        typer.Argument(
            metavar="QUERIES.csv", help="Table with the columns image, product_id and optionally box.", dir_okay=False
        ),
    ],
    catalog: Annotated[
        Path | None, typer.Option("--catalog", metavar="DIR", help="Start a server with this catalog.", file_okay=False)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="HOST:PORT", help="Use this running server instead."),
    ] = None,
    regions: Annotated[
        Regions | None,
        typer.Option("--regions", help="What to search (default: box where the file has them, else detect)."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, max=64, help="Number of calls at once.")] = 4,
    max_objects: Annotated[
        int,
        typer.Option(
            "--max-objects",
            min=0,
            max=INT32_MAX,
            help="Maximum number of objects per photo; 0 is the server's default.",
        ),
    ] = 0,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="Encoding of QUERIES.csv (default: by its byte order mark, else UTF-8 or cp1252).",
        ),
    ] = None,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Exit 0 even if queries failed; they count as misses.")
    ] = False,
    timeout: connection.Timeout = 30.0,
    tls: connection.Tls = False,
    tls_ca: connection.TlsCa = None,
    tls_cert: connection.TlsCert = None,
    tls_key: connection.TlsKey = None,
    insecure: connection.Insecure = False,
    token_file: connection.TokenFile = None,
) -> None:
    """Measure how often the right product comes first."""
    if (catalog is None) == (target is None):
        raise typer.BadParameter("one of --catalog and --target is needed", param_hint="--catalog / --target")
    reach = partial(
        connection.options,
        timeout_s=timeout,
        tls=tls,
        ca=tls_ca,
        cert=tls_cert,
        key=tls_key,
        insecure=insecure,
        token_file=token_file,
    )
    if target is not None:
        reach(target)  # a wrong address is reported before any file is read
    rows = checked_queries(queries, encoding, allow_missing=allow_failures)
    try:
        kind = choose_regions(rows, regions)
    except QueryFileError as error:
        raise typer.BadParameter(str(error), param_hint="QUERIES.csv") from None
    unknown: dict[str, int] = {}
    if catalog is not None:
        _require_server()
        unknown["not_in_catalog"] = report_unknown_products(rows, catalog)
    try:
        with ExitStack() as stack:
            where = stack.enter_context(LocalServer(catalog=catalog)).target if target is None else target
            outcomes = asyncio.run(_with_progress(reach(where), rows, kind, in_flight, max_objects))
    except SightlineError as error:
        connection.fail(error)
    _print({**report(outcomes), **unknown, "regions": kind.value}, as_json=json_output)
    _report_failures(rows, outcomes)
    if catalog is None:
        _report_never_answered(rows, outcomes)
    if any(outcome.error for outcome in outcomes) and not allow_failures:
        raise typer.Exit(1)


async def run_queries(
    reach: ClientOptions,
    queries: Sequence[Query],
    kind: Regions,
    *,
    in_flight: int = 4,
    max_objects: int = 0,
    on_done: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Sends all queries, `in_flight` at once, and returns their outcomes in the order of the queries."""
    places = asyncio.Semaphore(in_flight)
    async with AsyncClient(reach) as client:

        async def one(query: Query) -> Outcome:
            async with places:
                outcome = await _ask(client, query, kind, max_objects)
            on_done()
            return outcome

        return list(await asyncio.gather(*(one(query) for query in queries)))


async def _ask(client: AsyncClient, query: Query, kind: Regions, max_objects: int) -> Outcome:
    try:
        photo = await asyncio.to_thread(query.image.read_bytes)
        answer = await _find(client, photo, query.regions(kind), max_objects)
    except OSError as error:
        return Outcome(error=f"cannot read {query.image}: {error.strerror}")
    except SightlineError as error:
        return Outcome(error=error.one_line())
    timings = answer.done.timings if answer.done is not None else None
    failures = [found.failure for found in answer.objects if found.failure is not None]
    failure = next((each for each in failures if each.reason is not FailureReason.PERSON), None)
    if failure is not None:
        return Outcome(timings=timings, error=failure.message or failure.reason.value)
    person = bool(failures) or (answer.done is not None and answer.done.notice is Notice.PERSON_ONLY)
    answered = frozenset(ranked.product.id for found in answer.objects for ranked in found.products)
    skipped = answer.done is not None and bool(answer.done.skipped)
    return Outcome(best_rank(answer, query.product_id), timings, answered=answered, person=person, skipped=skipped)


async def _find(client: AsyncClient, photo: bytes, regions: Sequence[Region], max_objects: int) -> Answer:
    """One search that waits when the server is busy, because an evaluation is never urgent."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await client.find(
                photo, regions=regions, max_objects=max_objects, max_products=DEPTH, lane=Lane.BATCH
            )
        except OverloadedError as error:
            wait_s = (error.retry_after_s or 1.0) * random.uniform(0.5, 1.5)  # noqa: S311  (spreads the callers)
            if time.monotonic() + wait_s > give_up:
                raise
            await asyncio.sleep(wait_s)


async def _with_progress(
    reach: ClientOptions, queries: Sequence[Query], kind: Regions, in_flight: int, max_objects: int
) -> list[Outcome]:
    console = Console(stderr=True)
    columns = (TextColumn("queries"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=len(queries))
        return await run_queries(
            reach, queries, kind, in_flight=in_flight, max_objects=max_objects, on_done=lambda: progress.advance(task)
        )


def _require_server() -> None:
    try:
        import grpc_health.v1.health_pb2  # noqa: F401  (only a server's environment has it)
    except ModuleNotFoundError:
        echo(f"sightline eval --catalog: {NEEDS_SERVER}", err=True)
        raise typer.Exit(2) from None


def _print(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    quality, stages = Table(box=None, show_header=False), Table("stage", "mean ms", "median ms", box=None)
    for name in ("hit@1", "hit@5", "hit@10", "mrr@10", "n", "failed", "person", "skipped", "regions"):
        value = figures[name]
        quality.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    for name, times in figures["stages"].items():
        stages.add_row(name.removesuffix("_ms"), f"{times['mean']:.1f}", f"{times['p50']:.1f}")
    console = Console()
    console.print(quality)
    console.print(stages)


def _report_failures(queries: Sequence[Query], outcomes: Sequence[Outcome]) -> None:
    failed = [(query, outcome) for query, outcome in zip(queries, outcomes, strict=True) if outcome.error]
    for query, outcome in failed[:SHOWN_FAILURES]:
        echo(f"sightline: {query.image.name}: {outcome.error}", err=True)
    if len(failed) > SHOWN_FAILURES:
        echo(f"sightline: and {len(failed) - SHOWN_FAILURES} more queries failed", err=True)


def _report_never_answered(queries: Sequence[Query], outcomes: Sequence[Outcome]) -> None:
    """Names products that were in no answer: all that a client can know about the catalog of a server."""
    answered = frozenset[str]().union(*(outcome.answered for outcome in outcomes))
    asked = [query.product_id for query, outcome in zip(queries, outcomes, strict=True) if outcome.searched]
    never = [product_id for product_id in dict.fromkeys(asked) if product_id not in answered]
    if never:
        echo(
            f"sightline: {len(never)} of {len(set(asked))} product ids were in no answer, so the catalog may not have "
            f"them: {listed(never)}",
            err=True,
        )
