"""The messages between a parent and a worker, on the worker's standard input and output.

    parent -> worker   the task, then LISTEN
    worker -> parent   WARM, then SERVING, or an error in place of either; later, models that Triton marked unhealthy
Rule: one line of plain JSON each, no pickles; descriptors travel by inheritance and are named by their numbers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from sightline_server.domain.address import Address
from sightline_server.domain.weights import Weights, weights_of
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.shared import SharedCatalog
from sightline_server.rpc.listener.tls_files import Contents
from sightline_server.settings import Settings

LISTEN = b'{"listen": true}\n'
WARM = b'{"warm": true}\n'
SERVING = b'{"serving": true}\n'


@dataclass(frozen=True, slots=True)
class Task:
    """Everything that a worker is given at its start; numbers begin at 1."""

    number: int
    settings: Settings
    digests: dict[str, str]
    """Digests of the models' files when the parent watches their engine; empty for one at `engine.triton_url`."""
    metrics_folder: str
    catalogs: tuple[SharedCatalog, ...]
    tls: Contents | None = field(default=None, repr=False)
    """The content of the TLS files when they were last valid, for a start at which they are not."""
    access: dict[str, bytes] = field(default_factory=dict, repr=False)
    """The contents of the files of access when they were last valid, by name, for the same case."""
    quotas: int | None = None
    """The descriptor of the memory in which all workers count what callers use; None without a policy."""
    weights: dict[str, Weights] = field(default_factory=dict)
    """The weights of ranking by the folder of each embedder, which the parent has read: a file may change meanwhile."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The files that the worker must inherit."""
        catalogs = tuple(descriptor for catalog in self.catalogs for descriptor in catalog.descriptors)
        return catalogs if self.quotas is None else (*catalogs, self.quotas)

    def encode(self) -> bytes:
        """The task as a line."""
        facts = {
            "number": self.number,
            "settings": self.settings.model_dump(mode="json"),
            "digests": self.digests,
            "metrics_folder": self.metrics_folder,
            "catalogs": [catalog.facts() for catalog in self.catalogs],
            # One byte is one character, whatever a file holds.
            "tls": None if self.tls is None else [content.decode("latin-1") for content in self.tls],
            "access": {name: content.decode("latin-1") for name, content in self.access.items()},
            "quotas": self.quotas,
            "weights": {folder: weights.facts() for folder, weights in self.weights.items()},
        }
        return json.dumps(facts).encode() + b"\n"

    @classmethod
    def decode(cls, text: bytes) -> "Task":
        """The reverse of `encode`; no variable and no file changes the settings that the parent has read."""
        facts = json.loads(text)
        return cls(
            number=facts["number"],
            settings=Settings(**facts["settings"]).with_catalogs(facts["settings"]["catalogs"]),
            digests=facts["digests"],
            metrics_folder=facts["metrics_folder"],
            catalogs=tuple(SharedCatalog.parse(catalog) for catalog in facts["catalogs"]),
            tls=None if facts["tls"] is None else tuple(content.encode("latin-1") for content in facts["tls"]),
            access={name: content.encode("latin-1") for name, content in facts["access"].items()},
            quotas=facts["quotas"],
            weights={folder: weights_of(values) for folder, values in facts["weights"].items()},
        )


def share_of(
    settings: Settings,
    *,
    address: Address,
    engine: Address,
    embedders: Sequence[str] = (),
    text_encoders: Sequence[str] = (),
) -> Settings:
    """One worker's settings: the parent's real `address` and `engine`, and its share of what is bounded in all.

    `embedders` are those that the engine serves in addition to the first, `text_encoders` all of these.

    Calls inside and bytes of requests are bounded because photos take memory, so both are divided. So are the traces
    that callers begin, because all workers send theirs to one collector.
    """
    limits, workers = settings.limits, settings.server.workers
    traces = settings.tracing.callers_per_minute
    shares = {
        "max_concurrent_calls": max(1, limits.max_concurrent_calls // workers),
        "max_open_calls": max(1, limits.max_open_calls // workers),
        "request_budget_bytes": max(limits.largest_request, limits.request_budget_bytes // workers),
    }
    return settings.model_copy(
        update={
            "server": settings.server.model_copy(update={"listen": address}),
            "engine": settings.engine.model_copy(
                update={
                    "triton_url": engine,
                    "embedders": tuple(embedders),
                    "text_encoders": tuple(text_encoders),
                }
            ),
            "limits": limits.model_copy(update=shares),
            "tracing": settings.tracing.model_copy(
                update={"callers_per_minute": min(traces, max(1, traces // workers))}
            ),
        }
    )


def given_up_line(model: str) -> bytes:
    """The line that reports `model` as marked unhealthy by Triton; the parent restarts it."""
    return json.dumps({"given_up": model}).encode() + b"\n"


def given_up_of(line: bytes) -> str | None:
    """The model that `line` reports as marked unhealthy by Triton; None for any other line."""
    model: str | None = json.loads(line).get("given_up")
    return model


def failed_line(error: SightlineError) -> bytes:
    """The line that reports why a worker cannot serve."""
    return json.dumps({"kind": error.kind.value, "message": error.message}).encode() + b"\n"


def failure_of(line: bytes) -> SightlineError | None:
    """The error that `line` reports; None for WARM and SERVING."""
    if line in (WARM, SERVING):
        return None
    said = json.loads(line)
    return SightlineError(ErrorKind(said["kind"]), said["message"])
