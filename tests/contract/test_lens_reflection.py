"""Reflection in both versions, as clients without the contract use it: by raw calls, and by `buf curl`."""

import asyncio
import json
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2

from tests.support.asking import PHOTO
from tests.support.lens import Served, serving

LENS = "sightline.v1.LensService"
V1, V1ALPHA = "grpc.reflection.v1", "grpc.reflection.v1alpha"
SERVICES = {LENS, "grpc.health.v1.Health", f"{V1}.ServerReflection", f"{V1ALPHA}.ServerReflection"}
BUF = Path(sys.executable).with_name("buf")

# The standard's own numbers, written down here and not taken from the code under test.
MESSAGES = {
    "ServerReflectionRequest": {
        "host": 1,
        "file_by_filename": 3,
        "file_containing_symbol": 4,
        "file_containing_extension": 5,
        "all_extension_numbers_of_type": 6,
        "list_services": 7,
    },
    "ExtensionRequest": {"containing_type": 1, "extension_number": 2},
    "ServerReflectionResponse": {
        "valid_host": 1,
        "original_request": 2,
        "file_descriptor_response": 4,
        "all_extension_numbers_response": 5,
        "list_services_response": 6,
        "error_response": 7,
    },
    "FileDescriptorResponse": {"file_descriptor_proto": 1},
    "ExtensionNumberResponse": {"base_type_name": 1, "extension_number": 2},
    "ListServiceResponse": {"service": 1},
    "ServiceResponse": {"name": 1},
    "ErrorResponse": {"error_code": 1, "error_message": 2},
}


async def ask(served: Served, package: str, *requests: dict[str, Any]) -> list[Any]:
    """The answers of one stream, over the method of `package`."""
    call = served.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [
        answer async for answer in call(iter([reflection_pb2.ServerReflectionRequest(**each) for each in requests]))
    ]


def files_of(answer: Any) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The files of an answer by their names."""
    found = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]
    return {file.name: file for file in found}


@pytest.mark.parametrize("package", [V1, V1ALPHA])
async def test_reflection_lists_the_services_and_gives_their_files(package: str) -> None:
    async with serving() as served:
        listed, by_symbol, by_name, unknown, nothing = await ask(
            served,
            package,
            {"list_services": ""},
            {"file_containing_symbol": f"{LENS}.Search"},
            {"file_by_filename": "sightline/v1/geometry.proto"},
            {"file_containing_symbol": "sightline.v1.Nothing"},
            {},
        )
        assert {service.name for service in listed.list_services_response.service} == SERVICES
        files = files_of(by_symbol)
        assert set(files) == {f"sightline/v1/{name}.proto" for name in ("lens_service", "geometry", "product")}
        assert files["sightline/v1/lens_service.proto"].service[0].name == "LensService"
        assert list(files_of(by_name)) == ["sightline/v1/geometry.proto"]
        assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert nothing.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert unknown.original_request.file_containing_symbol == "sightline.v1.Nothing"


async def test_every_listed_service_and_its_methods_can_be_described() -> None:
    symbols = [*sorted(SERVICES), f"{V1}.ServerReflection.ServerReflectionInfo", "grpc.health.v1.Health.Check"]
    async with serving() as served:
        answers = await ask(served, V1, *({"file_containing_symbol": symbol} for symbol in symbols))
    for symbol, answer in zip(symbols, answers, strict=True):
        services = [(file.package, each) for file in files_of(answer).values() for each in file.service]
        names = [f"{package}.{each.name}" for package, each in services]
        methods = [f"{package}.{each.name}.{method.name}" for package, each in services for method in each.method]
        assert symbol in names + methods


async def test_load_reports_are_listed_and_described_where_they_are_on() -> None:
    service = "xds.service.orca.v3.OpenRcaService"
    async with serving(server={"load_reports": True}) as served:
        listed, by_symbol, by_method, by_name = await ask(
            served,
            V1,
            {"list_services": ""},
            {"file_containing_symbol": service},
            {"file_containing_symbol": f"{service}.StreamCoreMetrics"},
            {"file_by_filename": "xds/data/orca/v3/orca_load_report.proto"},
        )
        assert {each.name for each in listed.list_services_response.service} == {*SERVICES, service}
        files = files_of(by_symbol)
        assert set(files) == {
            "xds/service/orca/v3/orca.proto",
            "xds/data/orca/v3/orca_load_report.proto",
            "google/protobuf/duration.proto",
        }
        assert set(files_of(by_method)) == set(files)
        assert list(files_of(by_name)) == ["xds/data/orca/v3/orca_load_report.proto"]
        code, output, errors = await buf_curl("--list-methods", f"http://{served.address}")
        assert code == 0, errors
        assert f"{service}/StreamCoreMetrics" in output


@pytest.mark.parametrize("symbol", ["", ".", LENS + ".", LENS + ".Nothing", V1, V1 + ".", V1 + ".Nothing.x", "\ud7ff"])
async def test_an_unknown_symbol_is_not_found_and_the_stream_goes_on(symbol: str) -> None:
    async with serving() as served:
        unknown, by_name, listed = await ask(
            served,
            V1,
            {"file_containing_symbol": symbol},
            {"file_by_filename": symbol},
            {"list_services": ""},
        )
    for answer in (unknown, by_name):
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert listed.list_services_response.service


async def test_the_file_of_v1_is_that_of_the_standard() -> None:
    async with serving() as served:
        [answer] = await ask(served, V1, {"file_by_filename": "grpc/reflection/v1/reflection.proto"})
        [file] = files_of(answer).values()
    assert file.package == V1
    assert {each.name: {field.name: field.number for field in each.field} for each in file.message_type} == MESSAGES
    [method] = file.service[0].method
    assert (method.name, method.client_streaming, method.server_streaming) == ("ServerReflectionInfo", True, True)
    assert "v1alpha" not in str(file)
    # A client's own descriptors take it as it is, and its messages read what the server has sent.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    response = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{V1}.ServerReflectionResponse"))
    assert list(files_of(response.FromString(answer.SerializeToString()))) == ["grpc/reflection/v1/reflection.proto"]


async def test_types_of_error_details_are_found() -> None:
    """grpcurl shows the details of an error as text when it finds their types."""
    async with serving() as served:
        names = [f"google.rpc.{name}" for name in ("ErrorInfo", "BadRequest", "RetryInfo", "Status")]
        for answer in await ask(served, V1, *({"file_containing_symbol": name} for name in names)):
            assert files_of(answer)


async def buf_curl(*arguments: str, data: bytes = b"") -> tuple[int, str, str]:
    """Exit code, output and errors of `buf curl`."""
    process = await asyncio.create_subprocess_exec(
        *(str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(data)
    return process.returncode or 0, output.decode(), errors.decode()


@pytest.mark.parametrize("version", [[], ["--reflect-protocol", "grpc-v1"], ["--reflect-protocol", "grpc-v1alpha"]])
async def test_buf_curl_searches_without_the_contract(version: list[str]) -> None:
    async with serving() as served:
        code, output, errors = await buf_curl(*version, "--list-services", f"http://{served.address}")
        assert code == 0, errors
        # buf leaves out the services of reflection themselves or not, by its version.
        assert {LENS, "grpc.health.v1.Health"} <= set(output.split())
        request = json.dumps({"photo": b64encode(PHOTO).decode(), "max_products": 2})
        code, output, errors = await buf_curl(
            *version, "-d", "@-", f"http://{served.address}/{LENS}/Search", data=request.encode()
        )
        assert code == 0, errors
        assert '"done"' in output
