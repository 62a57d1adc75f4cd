"""Server reflection, in both versions that clients ask for: v1, and v1alpha for older ones.

Rule: `grpcio-reflection` has only v1alpha (grpc/grpc#38576). The messages of v1 are the same under another package
name, so v1 is described by the renamed file of v1alpha, and answered by the same code with the same bytes.
"""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from sightline_server.rpc.guard import Guarded
from sightline_server.rpc.load_reports import messages

V1ALPHA = reflection_pb2.DESCRIPTOR.package
V1 = "grpc.reflection.v1"
V1_FILE = "grpc/reflection/v1/reflection.proto"
SERVICE, METHOD = "ServerReflection", "ServerReflectionInfo"


def add_reflection(services: Sequence[str], server: grpc.aio.Server | Guarded) -> None:
    """Adds both versions to `server`; they list `services`, given by their full names, and themselves."""
    names = (*services, f"{V1}.{SERVICE}", f"{V1ALPHA}.{SERVICE}")
    servicer = reflection.aio.ReflectionServicer(names, pool=Descriptors())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_registered_method_handlers(f"{V1}.{SERVICE}", {METHOD: handler})


class Descriptors:
    """This process's descriptors with v1 of reflection and load reports, as the servicer asks a `DescriptorPool` for
    them.

    These two are in separate pools: in the process's one they would collide with generated code of the same files.
    """

    def __init__(self) -> None:
        self._process = descriptor_pool.Default()
        self._own = descriptor_pool.DescriptorPool()
        self._own.AddSerializedFile(v1_file().SerializeToString())

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802 (protobuf's name)
        """The file of this name. Raises `KeyError`."""
        return self._pool(name.replace("/", ".")).FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 (protobuf's name)
        """The file that defines a message, enum, service or, which protobuf leaves out, method. Raises `KeyError`."""
        pool = self._pool(symbol)
        try:
            return pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service_name, _, method = symbol.rpartition(".")
            service = pool.FindServiceByName(service_name)
            return service.methods_by_name[method].containing_service.file

    def _pool(self, name: str) -> descriptor_pool.DescriptorPool:
        """The pool of a symbol, or of a file with dots for its slashes."""
        if name.startswith(f"{V1}."):
            return self._own
        return messages.POOL if name.startswith((f"{messages.DATA}.", f"{messages.SERVICE}.")) else self._process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)


def v1_file() -> descriptor_pb2.FileDescriptorProto:
    """The file of v1alpha under the names of v1."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = V1_FILE, V1
    for message in file.message_type:
        for field in message.field:
            # A field of a plain type has no type name, which is not the same as an empty one.
            if field.type_name:
                field.type_name = renamed(field.type_name)
    for service in file.service:
        for method in service.method:
            method.input_type, method.output_type = renamed(method.input_type), renamed(method.output_type)
    return file


def renamed(name: str) -> str:
    """A full name of v1alpha as that of v1."""
    return name.replace(f".{V1ALPHA}.", f".{V1}.")
