"""Logs on standard error, plain or as JSON lines.

Rule: a record holds what an operator needs and never a photo fact; messages come from this code, not from requests.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType

from sightline_console.terminal import printable, printable_lines

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

FIELDS = (
    *("worker", "request_id", "code", "seconds"),
    *("decision", "principal", "service", "method", "catalog", "lane", "reason"),
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the extra fields that the server sets."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name in FIELDS if (value := getattr(record, name, None)) is not None})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class PlainFormatter(logging.Formatter):
    """`time level logger: message key=value`, human-readable."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """The record's own line; a line break in its message does not begin another one."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802  (logging's name)
        """The traceback of the record's exception."""
        return printable_lines(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        extras = "".join(
            f" {name}={quoted(value)}" for name in FIELDS if (value := getattr(record, name, None)) is not None
        )
        return super().format(record) + extras


def quoted(value: object) -> str:
    """A field's value on one line; in quotes where it could be mistaken for several fields."""
    text = printable(str(value))
    return json.dumps(text, ensure_ascii=False) if set(text) & set(' ="') else text


class WorkerField(logging.Filter):
    """Lets every record pass, with the number of the worker that writes it."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds the field."""
        record.worker = self._worker
        return True


def configure(level: str, *, json_lines: bool, worker: str = "") -> None:
    """Sends every record of `level` and above to standard error, with the number of the `worker` where it has one."""
    handler = logging.StreamHandler(sys.stderr)
    if worker:
        handler.addFilter(WorkerField(worker))
    handler.setFormatter(JsonFormatter() if json_lines else PlainFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Libraries that log requests or payloads stay quiet whatever our own level is.
    for name in ("httpx", "httpcore", "asyncio", "urllib3", "faiss.loader"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What Pillow logs about a file, it also raises.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
