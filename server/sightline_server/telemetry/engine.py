"""The metrics of the engine: whether it answers, how often it was recovered, and how each model runs."""

from prometheus_client import Gauge

from sightline_server.telemetry.making import Maker


class EngineSeries:
    """The metric objects; `metrics.Metrics` has one."""

    def __init__(self, make: Maker) -> None:
        self.ready = make.gauge("engine_ready", "1 while all models answer every worker.", over_workers="livemin")
        self.restarts = make.counter(
            "engine_restarts", "Restarts of the engine and reloads of its models, by kind.", "kind"
        )
        self.provider = make.gauge(
            "engine_provider",
            "1 for the execution provider that runs a model.",
            *("model", "provider"),
            over_workers="livemax",
        )
        self.precision = make.gauge(
            "engine_precision",
            "1 for the precision in which a model runs.",
            *("model", "precision"),
            over_workers="livemax",
        )
        self.transport = make.gauge(
            "triton_transport",
            "1 for the transport by which tensors reach a model.",
            *("model", "transport"),
            over_workers="livemax",
        )


class EngineMetrics:
    """The metrics of the engine."""

    def __init__(self, series: EngineSeries) -> None:
        self._series = series
        self._provider: dict[str, str] = {}
        self._precision: dict[str, str] = {}
        self._transport: dict[str, str] = {}
        for kind in ("reload", "restart"):
            series.restarts.labels(kind)

    def ready(self, ready: bool) -> None:
        """The engine became ready or not."""
        self._series.ready.set(ready)

    def restarted(self, kind: str, /) -> None:
        """The engine was recovered: `reload` of a model or `restart` of the whole."""
        self._series.restarts.labels(kind).inc()

    def provider(self, model: str, name: str, precision: str, /) -> None:
        """`model` runs on execution provider `name` in `precision`, which is not shown where it is not known."""
        show_current(self._series.provider, self._provider, model, name)
        if precision:
            show_current(self._series.precision, self._precision, model, precision)

    def transport(self, model: str, name: str, /) -> None:
        """Tensors reach `model` by `shm` or `inline`."""
        show_current(self._series.transport, self._transport, model, name)

    def given_up(self, model: str, /) -> None:
        """Counts nothing: the restart that follows is counted."""


def show_current(gauge: Gauge, current: dict[str, str], subject: str, name: str) -> None:
    """Sets the gauge of `subject` to 1 for `name` and to 0 for the name that `current` holds; updates `current`."""
    if (old := current.get(subject)) is not None and old != name:
        gauge.labels(subject, old).set(0)
    current[subject] = name
    gauge.labels(subject, name).set(1)
