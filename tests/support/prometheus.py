"""Debian's Prometheus for tests: finds it, starts it on a free port, asks it.

It is not a Python package, so a fresh machine does not have it: the tests that need it are skipped there, with the
reason, unless SIGHTLINE_REQUIRE_PROMETHEUS is set, as our own CI does. `scripts/prometheus.sh` fetches it without root.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.engine import CHECKOUT, sightline_home

DEPLOY = CHECKOUT / "deploy" / "prometheus"
START_S = 20.0


def program(name: str) -> Path:
    """`prometheus` or `promtool`, from PATH or from where `scripts/prometheus.sh` puts them."""
    fetched = sightline_home() / "tools" / "prometheus" / "usr" / "bin"
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), str(fetched)]))
    if found is None:
        missing = f"no {name} on PATH or in {fetched}: run scripts/prometheus.sh"
        if os.environ.get("SIGHTLINE_REQUIRE_PROMETHEUS"):
            pytest.fail(missing)
        pytest.skip(missing)
    return Path(found)


def shipped_config(metrics_url: str, triton: str, *, accelerator: str) -> str:
    """The configuration in `deploy/prometheus` with a run's targets, scraped each second.

    `triton` is HOST:PORT of Triton's metrics; its part of the file is there as a comment.
    """
    text = (DEPLOY / "prometheus.yml").read_text()
    server = metrics_url.removeprefix("http://").removesuffix("/metrics")
    text = text.replace("rules/", f"{DEPLOY}/rules/").replace("15s", "1s").replace("10s", "1s")
    text = text.replace("127.0.0.1:9464", server).replace("127.0.0.1:8002", triton)
    text = re.sub(r"(?m)^  # (- job_name: triton|  .*)$", r"  \1", text)
    assert f'"{server}"' in text
    assert f'"{triton}"' in text
    return re.sub(r"accelerator: \w+", f"accelerator: {accelerator}", text)


def filled_in(expression: str, rate_interval: str = "20s") -> str:
    """A dashboard's expression as Grafana sends it, for all replicas."""
    return expression.replace("$__rate_interval", rate_interval).replace("$instance", ".+")


@dataclass(frozen=True)
class Sample:
    """One sample of an instant query."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Line:
    """One line of a range query: instants in Unix time, and values."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Prometheus:
    """A separate Prometheus as a context manager. `config` is the text of its configuration."""

    def __init__(self, config: str, folder: Path) -> None:
        self._binary = program("prometheus")
        self._folder = folder
        self._config = folder / "prometheus.yml"
        self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        arguments = [f"--config.file={self._config}", f"--storage.tsdb.path={self._folder / 'data'}"]
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._binary), *arguments, f"--web.listen-address={address}"], stdout=log, stderr=log
            )
        self._wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """The samples of an instant vector or a scalar. Raises `ValueError` with Prometheus' message."""
        arguments = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        data = self.get("query", **arguments)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def query_range(self, expression: str, start: float, end: float, step_s: float) -> list[Line]:
        """The lines of a range query. Raises `ValueError` with Prometheus' message."""
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        data = self.get("query_range", query=expression, **span)
        return [Line(each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in data["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with its state."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def get(self, path: str, **arguments: str) -> Any:
        """The data that its HTTP API gives. Raises `ValueError` with Prometheus' message."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(f"{arguments}: {error.read().decode()}") from None

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        self._process.kill()
        self._process.wait()
        raise RuntimeError("prometheus did not start:\n" + (self._folder / "prometheus.log").read_text()[-2000:])
