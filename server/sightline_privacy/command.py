"""`sightline privacy verify`: checks a running server for the twelve promises, one line each.

Rule: it changes nothing on the server but what its calls do, and writes nothing. It exits with 1 where a promise is
broken, and with 2 where the server cannot be searched.
"""

import asyncio
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from sightline_client.cli import connection
from sightline_client.credentials import read_token
from sightline_client.errors import SightlineError
from sightline_client.options import DEFAULT_TARGET, ClientOptions
from sightline_console.terminal import echo, echo_lines
from sightline_privacy.checks.grants import signer_of
from sightline_privacy.sources import Sources
from sightline_privacy.verify import Plan, verify

DEFAULT_METRICS = "http://127.0.0.1:9464/metrics"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (searched, never written)
TIMEOUT_S = 30.0

app = typer.Typer(name="privacy", help="Check a running server for the promises about photos.", add_completion=False)


@app.callback(no_args_is_help=True, invoke_without_command=False)
def privacy() -> None:
    """Check a running server for the promises about photos."""


@app.command("verify")
def run(
    target: connection.Target = DEFAULT_TARGET,
    catalog: Annotated[str, typer.Option(help="Name of the catalog; empty is the server's default.")] = "",
    log: Annotated[
        list[Path] | None, typer.Option("--log", metavar="FILE", help="Log file of the server; repeatable.")
    ] = None,
    metrics: Annotated[str, typer.Option(metavar="URL", help="The page of metrics; empty: none.")] = DEFAULT_METRICS,
    spans: Annotated[
        list[Path] | None,
        typer.Option("--spans", metavar="FILE", help="File into which a collector writes spans (OTLP); repeatable."),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            "--folder",
            metavar="FOLDER",
            help="Folder to search for new files; repeatable. Default: SIGHTLINE_HOME, the temporary folder and "
            "/dev/shm.",
        ),
    ] = None,
    audit: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder of the audit log.")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's settings file, searched for sponsoring.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Search the memory of process --pid and all below it; root can.")
    ] = False,
    pid: Annotated[int | None, typer.Option(min=1, help="Process id of the server.")] = None,
    photo: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Photo that the canary shows, so that objects are found.")
    ] = None,
    person_photo: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Photo that one person fills, without products.")
    ] = None,
    grant_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Private key of a consent service that the server trusts.")
    ] = None,
    issuer: Annotated[str, typer.Option(help="The server's consent.issuer.")] = "",
    audience: Annotated[str, typer.Option(help="The server's consent.audience.")] = "",
    quota: Annotated[
        int, typer.Option(min=0, max=10_000, help="Calls in a row after which this caller must be refused; 0: none.")
    ] = 0,
    other_token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the token of a second principal.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    tls: connection.Tls = False,
    tls_ca: connection.TlsCa = None,
    tls_cert: connection.TlsCert = None,
    tls_key: connection.TlsKey = None,
    insecure: connection.Insecure = False,
    token_file: connection.TokenFile = None,
) -> None:
    """Send canary photos to a server, and search its answers and all that it leaves for them."""
    if memory and pid is None:
        raise typer.BadParameter("give the process id of the server", param_hint="--pid")
    reach = connection.options(
        *(target, TIMEOUT_S), tls=tls, ca=tls_ca, cert=tls_cert, key=tls_key, insecure=insecure, token_file=token_file
    )
    for path in (*(log or ()), *(spans or ()), *(folder or ()), *(path for path in (audit, config) if path)):
        if not os.access(path, os.R_OK):
            raise typer.BadParameter(f"cannot read {path}")
    try:
        plan = Plan(
            options=reach,
            sources=Sources(
                logs=log or (),
                spans=spans or (),
                folders=folder or default_folders(),
                audit=audit,
                metrics_url=web_address(metrics),
            ),
            other=other_options(reach, other_token_file),
            catalog=catalog,
            signer=signer_of(grant_key, issuer, audience),
            quota=quota,
            photo=picture_of(photo),
            person_photo=None if person_photo is None else read(person_photo),
            config=config,
            pid=pid if memory else None,
        )
        report = asyncio.run(verify(plan))
    except SightlineError as error:
        echo(f"sightline: {error.one_line()}", err=True)
        raise typer.Exit(2) from None
    echo_lines(json.dumps(report.as_json(), indent=2) if as_json else "\n".join(report.lines()))
    if report.is_broken:
        raise typer.Exit(1)


def default_folders() -> list[Path]:
    """SIGHTLINE_HOME, the temporary folder and shared memory, where they are."""
    home = os.environ.get("SIGHTLINE_HOME")
    folders = [*([Path(home)] if home else []), Path(tempfile.gettempdir()), SHARED_MEMORY]
    return [each for each in folders if each.is_dir()]


def web_address(url: str) -> str:
    """An address of metrics. Raises `typer.BadParameter` for another kind of address, such as of a file."""
    if url and not url.startswith(("http://", "https://")):
        raise typer.BadParameter("expected an address such as " + DEFAULT_METRICS, param_hint="--metrics")
    return url


def other_options(reach: ClientOptions, token_file: Path | None) -> ClientOptions | None:
    """The options of the second principal. Raises `ConfigurationError`."""
    return None if token_file is None else replace(reach, token=read_token(token_file))


def read(path: Path) -> bytes:
    """The bytes of a photo. Raises `typer.BadParameter`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from None


def picture_of(path: Path | None) -> Image.Image | None:
    """The image in a file; None without one. Raises `typer.BadParameter`."""
    if path is None:
        return None
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception:  # Pillow raises many kinds of errors for broken files
        raise typer.BadParameter(f"{path} is not an image", param_hint="--photo") from None
