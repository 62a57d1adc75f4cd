"""A method of a service, as the edge needs to know it: its messages, and what of a request access depends on.

Rule: a method takes one request, which names a catalog or means the default one, or a stream of requests, of which the
first one does. It answers with one message or a stream of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from sightline_server.domain.request import Lane
from sightline_server.rpc.fields import USUAL, FieldBounds

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Target:
    """The catalog and the lane that a request asks access to, read before it is validated.

    An empty `catalog` means the default. A request about the `whole_server` has none, and its pass opens none.
    """

    catalog: str
    lane: Lane = Lane.INTERACTIVE
    whole_server: bool = False


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """One method. `target` reads what a request asks access to, and must not refuse it.

    `is_result` says which messages of a stream are results. Admission learns from the seconds to the first of them, and
    `sightline_first_result_seconds` shows those. Without it every message is a result, and the metric is not changed.
    Raises `ValueError` where the descriptor does not fit.
    """

    descriptor: MethodDescriptor
    request: type[RequestT]
    response: type[ResponseT]
    target: Callable[[RequestT], Target]
    bounds: FieldBounds = USUAL
    is_result: Callable[[ResponseT], bool] | None = None
    takes_stream: bool = False
    grant: Callable[[RequestT], str] | None = None
    """Reads the consent grant of a request. None for a method that searches no photo, and so takes none."""

    def __post_init__(self) -> None:
        """Compares the types with the descriptor."""
        messages = (self.descriptor.input_type, self.descriptor.output_type)
        streams = self.descriptor.client_streaming
        if messages != (self.request.DESCRIPTOR, self.response.DESCRIPTOR) or streams != self.takes_stream:
            raise ValueError(f"{self.path} does not take one {self.request.__name__} or send {self.response.__name__}")

    @property
    def name(self) -> str:
        """The method's name, which metrics and log lines use; unique among all services of a server."""
        return str(self.descriptor.name)

    @property
    def service(self) -> str:
        """The full name of its service."""
        return str(self.descriptor.containing_service.full_name)

    @property
    def path(self) -> str:
        """SERVICE/METHOD, as traces name it."""
        return f"{self.service}/{self.name}"
