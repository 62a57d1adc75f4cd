"""Checks before an evaluation starts a server or sends a query: the file, its images, its product ids.

Rule: one message for each kind of problem, with a bounded list of names. The ids of a catalog come from `sightline
catalog ids`, run as a program, because nothing of the server is imported here.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from sightline_client.queries import Query, QueryFile, QueryFileError, listed, read_query_file
from sightline_console.terminal import echo, echo_lines


def checked_queries(path: Path, encoding: str | None, *, allow_missing: bool) -> Sequence[Query]:
    """The queries of the file. Raises `BadParameter`; with `allow_missing` absent images are only named."""
    try:
        file = read_query_file(path, encoding)
    except QueryFileError as error:
        raise typer.BadParameter(str(error), param_hint="QUERIES.csv") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise typer.BadParameter(f"cannot read {path}: {reason}", param_hint="QUERIES.csv") from None
    if file.assumed:
        echo(f"sightline: {path} is not UTF-8 text; it is read as {file.encoding} (or name it: --encoding)", err=True)
    _check_images(path, file, allow_missing=allow_missing)
    return file.queries


def report_unknown_products(queries: Sequence[Query], catalog: Path) -> int:
    """Names the product ids that the catalog does not have, and returns how many. Exits if it cannot be read."""
    command = [sys.executable, "-m", "sightline_client.cli", "catalog", "ids", str(catalog), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if ran.returncode != 0:
        echo_lines(ran.stderr.strip() or f"sightline: cannot read the catalog {catalog}", err=True)
        raise typer.Exit(ran.returncode if ran.returncode in (1, 2) else 1)
    held, asked = set(json.loads(ran.stdout)), dict.fromkeys(query.product_id for query in queries)
    unknown = [product_id for product_id in asked if product_id not in held]
    if unknown:
        echo(
            f"sightline: {len(unknown)} of {len(asked)} product ids are not in the catalog: {listed(unknown)}", err=True
        )
    return len(unknown)


def _check_images(path: Path, file: QueryFile, *, allow_missing: bool) -> None:
    missing = file.missing_images
    if not missing:
        return
    total = len({query.image for query in file.queries})
    names = listed([str(image) for image in missing])
    message = f"{len(missing)} of {total} images of {path} are missing or are not files: {names}"
    if not allow_missing:
        raise typer.BadParameter(message, param_hint="QUERIES.csv")
    echo(f"sightline: {message}", err=True)
