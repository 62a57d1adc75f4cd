"""Nobody is called: the commands under strace, with an empty home folder that is still empty when they have ended.

Each connection that leaves loopback, each question to a name server and each file outside of SIGHTLINE_HOME and the
outputs that were named is a failure. docs/operate/privacy.md says what counts. `engine install` and `models pull` are
left out: they exist to download.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from load_tests.observe.processes import below
from sightline_server.embedded.command import IN_BF16, command_line, environment, free_ports
from sightline_server.embedded.install import install
from sightline_server.embedded.installation import installation_of
from sightline_server.embedded.precision import Precision, cpu_has_bf16, obstacle
from sightline_server.triton.sharing import room, stub_memory
from tests.support import strace
from tests.support.calling_home import Places, findings
from tests.support.engine import CHECKOUT, sightline_home
from tests.support.tiny_models import build_repository
from tests.support.world import draw_photo, write_feed

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
SIGHTLINE = str(Path(sys.executable).with_name("sightline"))
NEEDED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "__DCGM_DBG_LVL")
"""Variables that tritonserver needs, or without which it would write its own log."""
START_S = 90.0
IDLE_S = 4.0
"""Seconds for which a server is left alone: ONNX Runtime's telemetry asks for its host within 2 s, then every few
seconds."""


@dataclass(frozen=True)
class Running:
    """A traced server: its process, and the first word after the text that says that it is ready."""

    process: psutil.Process
    word: str


@dataclass(frozen=True)
class Person:
    """A user with an empty home folder who has the engine, a small shop and a photo."""

    root: Path

    def __post_init__(self) -> None:
        for folder in (self.home, self.work, self.temporary, self.place, self.shop / "photos", self.out):
            folder.mkdir(parents=True)
        # What is written through the link is found under its real path, which is not allowed.
        (self.place / "engine").symlink_to(install(sightline_home(), progress=lambda text: None).root)
        write_feed(self.shop)
        draw_photo(3).save(self.photo)

    home = property(lambda self: self.root / "home")
    work = property(lambda self: self.root / "work")
    temporary = property(lambda self: self.root / "temporary")
    place = property(lambda self: self.root / "sightline")
    shop = property(lambda self: self.root / "shop")
    out = property(lambda self: self.root / "out")
    photo = property(lambda self: self.root / "shop" / "photos" / "one.jpg")
    catalog = property(lambda self: self.root / "out" / "catalog")
    traces = property(lambda self: self.root.with_name("traces"))

    @property
    def variables(self) -> dict[str, str]:
        """All of the environment. Nothing is inherited: CI's own variables would keep ONNX Runtime quiet."""
        places = {"HOME": self.home, "TMPDIR": self.temporary, "SIGHTLINE_HOME": self.place}
        return {name: str(path) for name, path in places.items()} | {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    @property
    def places(self) -> Places:
        """The folders to which the commands may write. Triton's Python backend uses /tmp whatever TMPDIR says."""
        return Places(
            allowed=(self.place, self.out, self.temporary, Path("/tmp")),
            forbidden=(self.root,),
            working_folder=self.work,
            code=(CHECKOUT, Path(sys.prefix), sightline_home() / "engine"),
        )

    def run(self, *arguments: str) -> None:
        """Runs one traced command to its end; it must succeed."""
        command = strace.traced([SIGHTLINE, *arguments], self.traces / arguments[0])
        done = subprocess.run(command, cwd=self.work, env=self.variables, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"

    @contextmanager
    def running(self, name: str, command: list[str], ready: str, env: dict[str, str]) -> Iterator[Running]:
        """A traced server for the length of the block, entered when its log says `ready`; SIGTERM must end it well."""
        log = self.out / f"{name}.log"
        with log.open("wb") as file:
            traced = strace.traced(command, self.traces / name)
            process = subprocess.Popen(traced, cwd=self.work, env=env, stdout=file, stderr=file)
        tracer = psutil.Process(process.pid)
        try:
            word = word_after(ready, log, process)
            (server,) = tracer.children()
            yield Running(server, word)
            server.terminate()
            assert process.wait(60) == 0, log.read_text()
        finally:
            for each in tracer.children(recursive=True) if process.poll() is None else []:
                each.kill()
            process.wait(10)

    def assert_quiet(self, *traced: str) -> None:
        """The commands that were traced called nobody and left no file where none may be."""
        folders = sorted(self.traces.iterdir())
        assert [folder.name for folder in folders] == sorted(traced)
        faults = [f"{each.name}: {fault}" for each in folders for fault in findings(strace.lines(each), self.places)]
        # Addresses first: a library that calls home usually writes files, too.
        faults.sort(key=lambda fault: "write" in fault)
        for folder in (self.home, self.work, self.temporary):
            faults += [f"left behind: {path}" for path in folder.rglob("*")]
        if faults:
            pytest.fail("\n".join(faults), pytrace=False)


def word_after(ready: str, log: Path, process: "subprocess.Popen[bytes]") -> str:
    """The word that follows `ready` in `log`, as soon as it is there."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        for word in log.read_text().partition(ready)[2].split()[:1]:
            return word.strip(',;"')
        time.sleep(0.1)
    raise AssertionError(f"it did not start:\n{log.read_text()}")


@pytest.fixture
def person(tmp_path: Path) -> Person:
    strace.program()
    return Person(tmp_path / "person")


def test_no_command_calls_anybody_or_leaves_a_file(person: Person) -> None:
    person.run("catalog", "build", str(person.shop / "feed.csv"), "--out", str(person.catalog))
    person.run("models", "check")
    person.run("doctor")
    serve = [SIGHTLINE, "serve", "--catalog", str(person.catalog), "--listen", "127.0.0.1:0"]
    serve += ["--metrics-listen", "127.0.0.1:0"]
    with person.running("serve", serve, "serving on ", person.variables) as server:
        # The engine's environment must say it as well: the native backend has no lines of ours.
        (engine,) = below(server.process.pid)["tritonserver"]
        assert engine.environ()["ORT_DISABLE_TELEMETRY"] == "1"
        # On a CPU with bf16 it is OpenVINO that must call nobody, in the gate and in the engine.
        installation = installation_of(person.place)
        fits = not obstacle(Precision.AUTO, installation, cpu_fits=cpu_has_bf16())
        assert bool(engine.environ().get(IN_BF16)) == fits
        found = str(person.out / "found.png")
        person.run("search", str(person.photo), "--target", server.word, "--annotate", found)
        time.sleep(IDLE_S)
    person.run("demo", "--showroom", str(person.shop), "--out", str(person.out / "demo"))
    person.assert_quiet("catalog", "demo", "doctor", "models", "search", "serve")


def test_our_backend_calls_nobody_in_a_triton_that_we_did_not_start(person: Person) -> None:
    installation = installation_of(person.place)
    repository = build_repository(person.out / "models")
    prefix, memory = f"nobody-{os.getpid()}-", stub_memory(room().free)
    command = command_line(installation, repository, ("detector", "embedder"), free_ports(), prefix, memory)
    needed = environment(installation, gpu=False)
    env = person.variables | {name: needed[name] for name in NEEDED} | {"ORT_DISABLE_TELEMETRY": "0"}
    with person.running("triton", command, "Started GRPCInferenceService at ", env):
        time.sleep(IDLE_S)
    person.assert_quiet("triton")
