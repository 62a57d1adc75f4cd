"""`sightline serve`: reads the settings, serves until a signal, stops gracefully.

Rule: exit code 0 after a stop, 1 when the server cannot run, 2 when what was asked for is wrong (settings, a taken
port). SIGHUP ends nothing (hangup.py).
"""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from sightline_console import entry
from sightline_console.terminal import echo, echo_lines
from sightline_models.places import missing_right
from sightline_server.cli import engine_options
from sightline_server.cli.hangup import Hangups, block_hangup, receive_hangups
from sightline_server.cli.limits import check_descriptors
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.cli.pid_file import written_pid
from sightline_server.cli.served_catalogs import parse_catalogs
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.memory import keep_modules, protect
from sightline_server.settings import Settings
from sightline_server.telemetry import logging as server_logging
from sightline_server.telemetry.stderr import close_to_libraries

log = logging.getLogger(__name__)
app = typer.Typer(help="Run the server.", add_completion=False)


@app.command()
def serve(
    config: ConfigFile = None,
    catalog: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIR",
            help="Catalog made by `sightline catalog build`, under the name that requests give; may be repeated. "
            "Requests without a name get the one called default, else the first.",
        ),
    ] = None,
    triton_url: engine_options.TritonUrl = None,
    triton_tls: engine_options.TritonTls = None,
    triton_tls_ca: engine_options.TritonTlsCa = None,
    triton_tls_cert: engine_options.TritonTlsCert = None,
    triton_tls_key: engine_options.TritonTlsKey = None,
    triton_tls_name: engine_options.TritonTlsName = None,
    triton_insecure: engine_options.TritonInsecure = None,
    device: engine_options.Device = None,
    repository: engine_options.Repository = None,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT or unix:PATH for gRPC (default: 127.0.0.1:50051).")
    ] = None,
    catalog_listen: Annotated[
        str | None,
        typer.Option(help="HOST:PORT or unix:PATH for CatalogService, which writes the catalogs (default: off)."),
    ] = None,
    catalogs_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for catalogs that callers of CatalogService create; all in it are served."
        ),
    ] = None,
    metrics_listen: Annotated[
        str | None, typer.Option(help="HOST:PORT for /metrics (default: 127.0.0.1:9464).")
    ] = None,
    metrics_insecure: Annotated[
        bool | None,
        typer.Option("--metrics-insecure", help="Allow a --metrics-listen that other machines reach."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that share the port, for machines with many cores (default: 1)."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain of the server.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the server.")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM CA of the clients: makes TLS mutual.")] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Allow a --listen that other machines reach without TLS.")
    ] = None,
    pid_file: Annotated[Path | None, typer.Option(help="File for the server's process id while it serves.")] = None,
    log_level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="Lowest level to log: DEBUG, INFO, WARNING or ERROR (default: INFO)."),
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings as JSON and exit.")] = False,
) -> None:
    """Serve catalogs over gRPC until SIGTERM or Ctrl-C.

    Options override SIGHTLINE_* variables, those override the file of --config, and that overrides the defaults.
    """
    try:
        check_descriptors()
        settings = load(
            config,
            server={
                "listen": listen,
                "catalog_listen": catalog_listen,
                "catalogs_folder": catalogs_folder,
                "metrics_listen": metrics_listen,
                "metrics_insecure": metrics_insecure or None,
                "tls_cert": tls_cert,
                "tls_key": tls_key,
                "tls_client_ca": tls_client_ca,
                "insecure": insecure or None,
                "workers": workers,
                "pid_file": pid_file,
            },
            engine=engine_options.engine_group(
                triton_url=triton_url,
                triton_tls=triton_tls,
                triton_tls_ca=triton_tls_ca,
                triton_tls_cert=triton_tls_cert,
                triton_tls_key=triton_tls_key,
                triton_tls_name=triton_tls_name,
                triton_insecure=triton_insecure,
                device=device,
                repository=repository,
            ),
            log={"level": log_level},
            served=parse_catalogs(catalog or []),
        )
    except SightlineError as error:
        fail(error)
    if print_config:
        echo_lines(json.dumps(settings.model_dump(mode="json"), indent=2))
        return
    block_hangup()
    if settings.server.workers == 1:
        # With workers they decode, and inherit this descriptor.
        close_to_libraries()
    server_logging.configure(settings.log.level, json_lines=settings.log.json_lines)
    protect()
    try:
        asyncio.run(serve_until_signal(settings))
    except SightlineError as error:
        fail(error)
    except PermissionError as error:
        fail(SightlineError(ErrorKind.CONFIGURATION, missing_right(error)))


async def serve_until_signal(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. A second signal, or one during the start, does not wait for anything.

    SIGHUP, which must be blocked, makes the server read its files again.
    """
    # Late, so that `--help` and `--print-config` do not load the models' and the index's libraries.
    from sightline_server.app.serving import serving
    from sightline_server.control.server import control_socket
    from sightline_server.workers import serving_with_workers

    keep_modules()
    stop, started, hangups = asyncio.Event(), asyncio.Event(), Hangups()
    task = asyncio.current_task()
    assert task is not None

    def on_signal(name: str) -> None:
        log.info("%s: stopping", name)
        if stop.is_set() or not started.is_set():
            task.cancel()
        hangups.stopping()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    receive_hangups(hangups.received)
    try:
        async with (
            serving_with_workers(settings) if settings.server.workers > 1 else serving(settings) as server,
            control_socket(server.reload_catalogs),
        ):
            started.set()
            with written_pid(settings.server.pid_file):
                log.info("serving on %s, metrics on http://%s/metrics", server.address, server.metrics_address)
                hangups.serving(server.reload)
                await stop.wait()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    log.info("stopped")


def fail(error: SightlineError) -> None:
    """Says what is wrong in one line and exits."""
    echo(f"sightline: {error.message}", err=True)
    sys.exit(2 if error.kind is ErrorKind.CONFIGURATION else 1)


def main() -> None:
    """`python -m sightline_server serve ...`."""
    commands = typer.Typer(add_completion=False)
    commands.command("serve")(serve)
    commands.callback()(lambda: None)
    sys.exit(entry.run(commands, None, "sightline_server"))
