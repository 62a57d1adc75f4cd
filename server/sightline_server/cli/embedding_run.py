"""The log and the signals of `sightline catalog build`, `upsert` and `reembed`, whose images the engine embeds."""

import asyncio
import signal

from sightline_server.settings import Settings
from sightline_server.telemetry import logging as server_logging


def configure_log(settings: Settings) -> None:
    """Logs warnings only, because the command reports its progress itself; everything where `log.level` is DEBUG."""
    level = "DEBUG" if settings.log.level == "DEBUG" else "WARNING"
    server_logging.configure(level, json_lines=settings.log.json_lines)


def cancel_on_signals() -> None:
    """Lets SIGTERM and SIGHUP cancel the current task, as Ctrl-C does, so that the engine ends in order."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    # A user who starts it with nohup wants it to go on when the terminal is closed.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, task.cancel)
