"""One asynchronous client of one Triton.

Rule: the only import of `tritonclient`; its exceptions do not leave this module.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import tritonclient.grpc.aio as triton
from google.protobuf import json_format, text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from sightline_server.domain.address import Address, TcpAddress, parse_target
from sightline_server.triton.faults import Cause, EngineError, cause_of
from sightline_server.triton.link import TritonTls

CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]


def channel_options(address: Address, tls: TritonTls | None = None) -> list[tuple[str, int | str]]:
    """The options of the channel to `address`; for this machine it never uses a proxy of the environment."""
    options: list[tuple[str, int | str]] = [
        *CHANNEL_OPTIONS,
        ("grpc.enable_http_proxy", int(not address.is_loopback)),
    ]
    if tls is not None and (name := tls.server_name or certified_name(address)):
        options.append(("grpc.ssl_target_name_override", name))
    return options


def certified_name(address: Address) -> str:
    """The host that Triton's certificate must name; empty where that is what gRPC takes from the target anyway."""
    return address.host if isinstance(address, TcpAddress) and address.host != address.resolved_host else ""


@dataclass(frozen=True, slots=True)
class InRegion:
    """The position of a tensor in a registered region, in bytes."""

    region: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input of a call, given inline or in a region."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: InRegion | NDArray[Any]

    def entry(self) -> Any:
        """The tensor as Triton's client takes it."""
        entry = triton.InferInput(self.name, list(self.shape), self.datatype)
        if isinstance(self.data, InRegion):
            return entry.set_shared_memory(self.data.region, self.data.size, self.data.offset)
        return entry.set_data_from_numpy(self.data)


class TritonClient:
    """Calls one Triton. Every failure is an `EngineError`; no call outlives its `timeout_s`."""

    def __init__(self, address: str, tls: TritonTls | None = None) -> None:
        """`address` is HOST:PORT or unix:PATH of Triton's gRPC service; nothing is sent yet.

        The files of `tls`, which the caller has checked, are read. Raises `EngineError` where that fails.
        """
        place, files = parse_target(address), tls or TritonTls()
        try:
            self._client = triton.InferenceServerClient(
                place.grpc_target,
                ssl=tls is not None,
                root_certificates=files.ca,
                private_key=files.key,
                certificate_chain=files.cert,
                channel_args=channel_options(place, tls),
            )
        except OSError as error:
            raise EngineError(Cause.GONE, f"cannot read {error.filename}: {error.strerror}") from error
        self._closed = False

    async def close(self) -> None:
        """Ends the connection; calls under way fail with `Cause.GONE`."""
        self._closed = True
        await self._client.close()

    async def server_ready(self, timeout_s: float) -> bool:
        """Returns whether Triton reports itself and all its models as ready."""
        async with self._translated():
            return bool(await self._client.is_server_ready(client_timeout=timeout_s))

    async def model_ready(self, model: str, timeout_s: float) -> bool:
        """Returns whether Triton reports the model as ready; a dead stub is not noticed here."""
        async with self._translated():
            return bool(await self._client.is_model_ready(model, client_timeout=timeout_s))

    async def metadata(self, model: str, timeout_s: float) -> dict[str, Any]:
        """A model's live metadata: `versions`, `inputs`, `outputs` (each name, datatype, shape)."""
        async with self._translated():
            found = await self._client.get_model_metadata(model, as_json=True, client_timeout=timeout_s)
        return dict(found)

    async def config(self, model: str, timeout_s: float) -> dict[str, Any]:
        """A model's live configuration, auto-completed."""
        async with self._translated():
            found = await self._client.get_model_config(model, as_json=True, client_timeout=timeout_s)
        return dict(found["config"])

    async def unload(self, model: str, timeout_s: float) -> None:
        """Begins to unload a model; `unloaded` reports when that is done."""
        async with self._translated():
            await self._client.unload_model(model, client_timeout=timeout_s)

    async def unloaded(self, model: str, timeout_s: float) -> bool:
        """Returns whether nothing is left of a model that was loaded."""
        async with self._translated():
            index = await self._client.get_model_repository_index(as_json=True, client_timeout=timeout_s)
        states = [entry.get("state", "") for entry in index.get("models", ()) if entry["name"] == model]
        return all(state in ("", "UNAVAILABLE") for state in states)

    async def load(self, model: str, timeout_s: float) -> None:
        """Loads a model; a model that is loaded stays as it is, dead stub included."""
        async with self._translated():
            await self._client.load_model(model, client_timeout=timeout_s)

    async def register(self, region: str, size: int, timeout_s: float) -> None:
        """Makes Triton map the region `/dev/shm/REGION`."""
        async with self._translated():
            await self._client.register_system_shared_memory(region, f"/{region}", size, client_timeout=timeout_s)

    async def registered(self, timeout_s: float) -> list[str]:
        """The names of all regions that Triton maps, those of other processes included."""
        async with self._translated():
            found = await self._client.get_system_shared_memory_status(as_json=True, client_timeout=timeout_s)
        return list(found.get("regions", ()))

    async def unregister(self, region: str, timeout_s: float) -> None:
        """Makes Triton unmap a region."""
        async with self._translated():
            await self._client.unregister_system_shared_memory(region, client_timeout=timeout_s)

    async def infer(
        self,
        model: str,
        inputs: Sequence[InputTensor],
        outputs: Sequence[str],
        *,
        queue_timeout_us: int | None,
        timeout_s: float,
    ) -> Mapping[str, NDArray[Any]]:
        """Runs one batch; returns the outputs as read-only arrays.

        `queue_timeout_us` bounds the wait in Triton's queue, `timeout_s` the whole call.
        """
        entries = [tensor.entry() for tensor in inputs]
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        async with self._translated():
            result = await self._client.infer(
                model, entries, outputs=wanted, timeout=queue_timeout_us, client_timeout=timeout_s
            )
        return {name: result.as_numpy(name) for name in outputs}

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except triton.InferenceServerException as error:
            text = str(error.message())
            raise EngineError(cause_of(str(error.status()), text), text) from error
        except (asyncio.CancelledError, Exception) as error:
            # Closing a channel cancels its calls and makes new ones fail in gRPC's own ways; only the caller's own
            # cancellation may look like one.
            if self._closed and not caller_cancelled():
                raise EngineError(Cause.GONE, "the connection was closed") from error
            raise


def parse_config(text: str) -> dict[str, Any]:
    """The content of a `config.pbtxt` in the form in which `TritonClient.config` returns a live configuration.

    Raises `ValueError` with the line and the column at fault.
    """
    try:
        parsed = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(str(error)) from error
    return json_format.MessageToDict(parsed, preserving_proto_field_name=True)


def caller_cancelled() -> bool:
    """Returns whether the running task was cancelled from outside."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
