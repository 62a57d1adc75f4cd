"""An engine on this machine: tritonserver, its stubs and the reaper."""

import asyncio
import hashlib
import logging
import os
from dataclasses import replace
from itertools import count
from pathlib import Path

from sightline_models.embedders import is_further
from sightline_models.offered import printed_text_model
from sightline_server import owned_names, runtime_folder
from sightline_server.domain.text_encoders import in_bf16
from sightline_server.embedded import folders
from sightline_server.embedded.command import Ports, is_free, private_ports
from sightline_server.embedded.config import EmbeddedConfig
from sightline_server.embedded.devices import runs_on_gpu
from sightline_server.embedded.fitness import check_python
from sightline_server.embedded.installation import Installation, installation_of
from sightline_server.embedded.model_files import check_model_files
from sightline_server.embedded.precision import Precisions
from sightline_server.embedded.precision_choice import choose
from sightline_server.embedded.process import TritonProcess
from sightline_server.embedded.reaping import Reaper
from sightline_server.embedded.stubs import Stub, kill_stub, stub_is_well, stubs_of
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton import regions, sharing
from sightline_server.triton.hosts import ProviderListener

log = logging.getLogger("sightline.engine")
numbers = count()
"""Engines started by this process; each has its own region names."""


class EmbeddedHost:
    """tritonserver, its stubs and the reaper, on this machine."""

    name = "the embedded Triton"
    mends = True
    tls = None

    def __init__(self, config: EmbeddedConfig, on_provider: ProviderListener) -> None:
        """`on_provider` is called in the event loop that runs `begin`."""
        self._config = config
        self._on_provider = on_provider
        self._installation: Installation | None = None
        self._precisions: Precisions | None = None
        """Decided at the first start on a CPU, and kept."""
        self._ports: Ports | None = None
        self._process: TritonProcess | None = None
        self._reaper: Reaper | None = None
        self._runtime: runtime_folder.RuntimeFolder | None = None
        self._stubs: list[Stub] = []
        self._folders_before: set[Path] | None = None
        """Folders of Triton in `/tmp` before this one started; None once its own is known, or cannot be."""
        self._folder: Path | None = None

    @property
    def address(self) -> str:
        """The Unix socket of Triton's gRPC service; it stays the same over restarts while its folder is there."""
        return str(self._ports.address) if self._ports else ""

    @property
    def metrics_url(self) -> str:
        """Triton's metrics, empty without a port; the port stays the same over restarts where it can."""
        return self._ports.metrics_url if self._ports else ""

    @property
    def pid(self) -> int:
        """tritonserver's process id."""
        return self._process.pid if self._process else 0

    @property
    def stubs(self) -> list[Stub]:
        """The processes that run the models."""
        return list(self._stubs)

    async def begin(self) -> None:
        """Starts tritonserver, after removing what dead servers left."""
        if self._installation is None:
            check_python()
            installation = installation_of(self._config.home)
            self._check_repository()
            await asyncio.to_thread(check_model_files, self._config.repository, self._config.roles)
            regions.remove_orphans()
            runtime_folder.remove_orphans()
            sharing.check_room(sharing.room(), len(self._config.roles))
            self._installation = installation
        # Asked at each start: a GPU may have been lost, or have come back.
        gpu = runs_on_gpu(self._config.device, engine_has_cuda=self._installation.has_cuda)
        bf16 = frozenset[str]() if gpu else (await self._precisions_on_cpu(self._installation)).bf16
        if self._reaper is None:
            self._reaper = Reaper(owned_names.own_prefix())
            self._reaper.start()
        loop = asyncio.get_running_loop()
        self._stubs = []
        folder = self._private_folder()
        installation, repository = linked(folder, self._installation), folder.link("models", self._config.repository)
        self._ports = self._free_ports(folder.path)
        self._process = TritonProcess(
            installation,
            repository,
            self._config.roles,
            self._ports,
            f"{owned_names.own_prefix()}e{next(numbers)}-",
            lambda model, name, precision: report(loop, self._on_provider, model, name, precision),
            gpu=gpu,
            bf16=bf16,
        )
        folders.remove_orphans()
        self._folders_before = folders.present()
        self._process.start()
        self._reaper.watch(self._process.pid)

    async def _precisions_on_cpu(self, installation: Installation) -> Precisions:
        """The precision of each model, decided once. Raises `SightlineError` where `bf16` cannot be had."""
        if self._precisions is None:
            config = self._config
            chosen = await asyncio.to_thread(
                choose, config.precision, installation, config.home, config.repository, config.roles
            )
            log.info("engine: %s", in_words(chosen))
            self._precisions = chosen
        return self._precisions

    def explain(self, detail: str) -> str:
        """The text as it is: the engine's own log says more."""
        return detail

    def _private_folder(self) -> runtime_folder.RuntimeFolder:
        """The runtime folder, made again where somebody has removed it; nothing of a former engine listens in it."""
        if self._runtime is None or not self._runtime.present:
            self._runtime, self._ports = runtime_folder.RuntimeFolder(), None
        self._runtime.remove_sockets()
        if self._reaper:
            self._reaper.keep(self._runtime.path)
        return self._runtime

    def _free_ports(self, folder: Path) -> Ports:
        """The ports to listen on: as before, without metrics where another process has taken their port meanwhile.

        Raises `SightlineError` at the first start when the port of the settings is taken: Triton would end at once.
        """
        ports = self._ports or private_ports(folder, self._config.metrics_port)
        if not ports.metrics or is_free(ports.metrics):
            return ports
        taken = f"cannot listen on 127.0.0.1:{ports.metrics} for the engine's metrics: address already in use"
        if self._ports is None:
            raise SightlineError(ErrorKind.CONFIGURATION, f"{taken}. Change engine.metrics_port.")
        log.warning("engine: %s; it starts without", taken)
        return replace(ports, metrics=0)

    def _check_repository(self) -> None:
        for model in self._config.roles:
            folder = self._config.repository / model
            if not os.path.isfile(folder / "config.pbtxt") or not list(folder.glob("*/*.onnx")):
                further = is_further(model)
                command = "models pull" if printed_text_model(model) is None else "models use printed-text"
                remedy = "Complete the folder or remove it." if further else f"Run `sightline {command}`."
                message = f"no model in {folder}: it needs config.pbtxt and 1/model.onnx. {remedy}"
                raise SightlineError(ErrorKind.CONFIGURATION, message)

    def gone(self) -> bool:
        """Returns whether tritonserver has ended."""
        return self._process is None or not self._process.running

    def tend(self) -> None:
        """Starts the reaper again if somebody killed it."""
        if self._reaper and not self._reaper.running:
            self._reaper.start()

    def sick_models(self) -> list[str]:
        """Models with a stub that is dead or stopped."""
        return sorted({stub.model for stub in self._stubs if not stub_is_well(stub)})

    def kill_models(self, models: set[str]) -> None:
        """Kills the stubs of `models`: Triton cannot unload a stopped one."""
        for stub in self._stubs:
            if stub.model in models:
                kill_stub(stub)

    def settled(self) -> None:
        """Records the stubs, and unlinks their shared memory, which needs no name once it is mapped."""
        if self._process:
            self._stubs = stubs_of(self._process.pid)
            regions.remove(self._process.prefix)
        if self._folders_before is not None:
            self._folder, self._folders_before = folders.mark(self._folders_before), None

    def digest(self, model: str, version: str) -> str:
        """SHA-256 of a model's ONNX file; another one where bf16 changes its answers, so that it counts as another
        model."""
        folder = self._config.repository / model / version
        usual = folder / "model.onnx"
        path = usual if usual.exists() else next(iter(sorted(folder.glob("*.onnx"))))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        changed = self._precisions is not None and model in self._precisions.changed
        return in_bf16(digest) if changed else digest

    def log_tail(self) -> list[str]:
        """The latest lines of the engine's log."""
        return self._process.log_tail() if self._process else []

    async def end(self, grace_s: float) -> None:
        """Ends tritonserver and its stubs, and removes their shared memory.

        An engine keeps nothing, so it is killed: it would take two seconds to unload its models. One whose folder in
        `/tmp` is not known gets `grace_s` to end by itself, because only it can remove that.
        """
        if self._process is None:
            return
        grace_s = 0 if self._folder else grace_s
        # Kept until it is over: a caller that cancels this and ends again must find it.
        await asyncio.to_thread(self._process.end, grace_s)
        self._process, self._stubs = None, []
        if self._folder:
            folders.remove(self._folder)
            self._folder = None
        if self._reaper:
            self._reaper.watch(0)

    async def close(self) -> None:
        """Removes the runtime folder and ends the reaper."""
        if self._runtime:
            self._runtime.close()
            self._runtime = None
        if self._reaper:
            reaper, self._reaper = self._reaper, None
            await asyncio.to_thread(reaper.end)


def linked(folder: runtime_folder.RuntimeFolder, installation: Installation) -> Installation:
    """The installation with the paths that Triton gets: each leads through `folder`."""
    return replace(
        installation,
        root=folder.link("engine", installation.root),
        libpython_dir=str(folder.link("libpython", Path(installation.libpython_dir))),
    )


def in_words(chosen: Precisions) -> str:
    """The decision about bf16 as a phrase for the log."""
    if chosen.reason:
        return f"models run in float32: {chosen.reason}"
    return f"in bf16: {', '.join(sorted(chosen.bf16)) or 'no model'}"


def report(loop: asyncio.AbstractEventLoop, listener: ProviderListener, model: str, name: str, precision: str) -> None:
    """Passes an event of the log's thread to the event loop, if that still runs."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(listener, model, name, precision)
