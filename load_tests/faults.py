"""Kills under a steady stream of photos: tritonserver, each model's stub, and at last the server itself.

    python -m load_tests.faults --catalog DIR [--photo FILE] [--rate 1] [--seconds 60] [--kill-at 10]

No retries. Prints one JSON object per fault and one on the last line; exits 1 when a promise was not kept: no call
hangs, every failure is UNAVAILABLE with RetryInfo (a refusal by admission, where a busy machine has more waiting calls
than it can serve, does not count as a failure and has RetryInfo too), health says NOT_SERVING within 2 s of the first
failure, a photo succeeds within 30 s of the kill, the server's process stays the same; and 10 s after the server itself
was killed nothing of it is left.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from load_tests.observe.processes import below, living, shared_files
from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_client.local_server import LocalServer
from sightline_client.target import proxy_option

DEADLINE_S = 15.0
HEALTH_EVERY_S = 0.05
NOT_SERVING_WITHIN_S = 2.0
SUCCESS_WITHIN_S = 30.0
GONE_WITHIN_S = 10.0
SERVICE = "sightline.v1.LensService"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one call: instants of the monotonic clock, the code, and whether RetryInfo came with it."""

    started: float
    ended: float
    code: str
    retry_info: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The effect of one fault on callers; seconds, None where it did not happen."""

    fault: str
    calls: int
    succeeded: int
    failed: int
    refused: int
    hung: int
    other_codes: list[str]
    without_retry_info: int
    not_serving_after_first_failure_s: float | None
    first_success_after_kill_s: float | None
    same_pid: bool

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        late = self.not_serving_after_first_failure_s
        back = self.first_success_after_kill_s
        checks = {
            "a call hung": self.hung > 0,
            "a failure was not UNAVAILABLE": bool(self.other_codes),
            "a failure came without RetryInfo": self.without_retry_info > 0,
            "health did not say NOT_SERVING in time": self.failed > 0 and (late is None or late > NOT_SERVING_WITHIN_S),
            "no success in time": back is None or back > SUCCESS_WITHIN_S,
            "the server's process changed": not self.same_pid,
        }
        return [what for what, broken in checks.items() if broken]


class Stream:
    """Photos at a constant rate, and checks of health, until `stop`."""

    def __init__(self, target: str, photo: bytes, rate: float) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=[proxy_option(target)])
        self._watch = grpc.aio.insecure_channel(target, options=[proxy_option(target)])
        self._request = lens_service_pb2.SearchRequest(photo=photo)
        self._rate = rate
        self._calls: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.ended: list[Ended] = []
        self.not_serving_at: list[float] = []

    async def __aenter__(self) -> "Stream":
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._look())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._calls, return_exceptions=True)
        await self._channel.close()
        await self._watch.close()

    async def _send(self) -> None:
        begun = time.monotonic()
        number = 0
        while True:
            call = asyncio.create_task(self._one())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            number += 1
            await asyncio.sleep(begun + number / self._rate - time.monotonic())

    async def _one(self) -> None:
        started = time.monotonic()
        code, retry_info = "OK", False
        try:
            stub = lens_service_pb2_grpc.LensServiceStub(self._channel)
            async for _ in stub.Search(self._request, timeout=DEADLINE_S):
                pass
        except grpc.aio.AioRpcError as error:
            code, retry_info = error.code().name, has_retry_info(error)
        self.ended.append(Ended(started, time.monotonic(), code, retry_info))

    async def _look(self) -> None:
        stub = health_pb2_grpc.HealthStub(self._watch)
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=1.0)
                if answer.status != health_pb2.HealthCheckResponse.SERVING:
                    self.not_serving_at.append(time.monotonic())
            await asyncio.sleep(HEALTH_EVERY_S)


def has_retry_info(error: grpc.aio.AioRpcError) -> bool:
    """Returns whether the error's details hold a RetryInfo."""
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    status = status_pb2.Status.FromString(packed)
    return any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)


async def kill_under_load(
    server: LocalServer, role: str, photo: bytes, *, rate: float, seconds: float, kill_at: float, early: bool = False
) -> Report:
    """Kills the process of `role` below the server after `kill_at` of `seconds`; `early` ends once it has recovered."""
    pid = server.pid
    async with Stream(server.target, photo, rate) as stream:
        await asyncio.sleep(kill_at)
        victim = below(pid)[role][0]
        killed = time.monotonic()
        victim.kill()
        while time.monotonic() < killed + seconds - kill_at:
            await asyncio.sleep(0.1)
            if early and recovered(stream.ended, killed):
                break
    return report(role, stream, killed, same_pid=server.pid == pid and below(pid)[role] != [])


def recovered(ended: list[Ended], killed: float) -> bool:
    """Returns whether something failed after the kill and three calls that started later than it succeeded."""
    failures = [call.started for call in ended if call.code != "OK" and call.ended > killed]
    return bool(failures) and sum(call.code == "OK" and call.started > max(failures) for call in ended) >= 3


def report(fault: str, stream: Stream, killed: float, *, same_pid: bool) -> Report:
    """The effect of the fault as the calls of the stream show it."""
    refused = [call for call in stream.ended if call.code == "RESOURCE_EXHAUSTED"]
    failures = [call for call in stream.ended if call.code not in ("OK", "RESOURCE_EXHAUSTED")]
    others = [call.code for call in failures if call.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")]
    first = min((call.ended for call in failures), default=None)
    # Calls that were under way when the kill came and had passed the engine do not show that it is back.
    since = killed if first is None else first
    back = [call.ended for call in stream.ended if call.code == "OK" and call.started >= since]
    seen = [at for at in stream.not_serving_at if at >= killed]
    return Report(
        fault=fault,
        calls=len(stream.ended),
        succeeded=len(stream.ended) - len(failures) - len(refused),
        failed=len(failures),
        refused=len(refused),
        hung=sum(call.code == "DEADLINE_EXCEEDED" or call.ended - call.started > DEADLINE_S for call in stream.ended),
        other_codes=sorted(set(others)),
        without_retry_info=sum(
            call.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED") and not call.retry_info for call in stream.ended
        ),
        not_serving_after_first_failure_s=None if first is None or not seen else round(max(0.0, seen[0] - first), 3),
        first_success_after_kill_s=round(min(back) - killed, 3) if back else None,
        same_pid=same_pid,
    )


def kill_server(server: LocalServer) -> dict[str, object]:
    """Kills the server and says what is left of it, and after how many seconds nothing was."""
    pid = server.pid
    processes = [process for found in below(pid).values() for process in found]
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    while (left := living(processes)) or shared_files(pid):
        if time.monotonic() > killed + GONE_WITHIN_S:
            break
        time.sleep(0.05)
    files = shared_files(pid)
    return {
        "fault": "server",
        "gone_after_s": round(time.monotonic() - killed, 3),
        "processes_left": len(left),
        "shared_files_left": len(files),
        "broken": ["something of the killed server is left"] if left or files else [],
    }


async def kill_engine_parts(
    server: LocalServer, photo: bytes, rate: float, seconds: float, kill_at: float
) -> list[str]:
    """Kills each part of the engine in turn; prints a report of each and returns the promises not kept."""
    broken: list[str] = []
    for role in ("tritonserver", "detector", "embedder"):
        found = await kill_under_load(server, role, photo, rate=rate, seconds=seconds, kill_at=kill_at)
        print(json.dumps({**asdict(found), "broken": found.broken}), flush=True)
        broken += found.broken
    return broken


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--photo", type=Path, help="default: the first photo of the showroom")
    parser.add_argument("--rate", type=float, default=1.0, help="photos per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each fault's run")
    parser.add_argument("--kill-at", type=float, default=10.0, help="seconds before the kill")
    given = parser.parse_args()
    photo = given.photo or next(iter(sorted(Path("examples/showroom/photos").glob("*.jpg"))), None)
    if photo is None:
        parser.error("no --photo, and the showroom has none")
    with LocalServer(catalog=given.catalog) as server:
        broken = asyncio.run(kill_engine_parts(server, photo.read_bytes(), given.rate, given.seconds, given.kill_at))
        last = kill_server(server)
        print(json.dumps(last), flush=True)
    broken += last["broken"] if isinstance(last["broken"], list) else []
    print(json.dumps({"faults": 4, "kept": not broken, "broken": sorted(set(broken))}))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
