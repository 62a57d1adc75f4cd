"""The messages of `xds.service.orca.v3.OpenRcaService`, described here field by field.

The definition is public: github.com/cncf/xds, `xds/data/orca/v3` and `xds/service/orca/v3`, Apache License 2.0. PyPI
has it as `xds-protos`, which is not used: it brings 1,800 modules, and top-level packages such as `opentelemetry`.
Rule: the descriptors are in a separate pool, so that they never collide with generated code of the same files.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from google.protobuf.descriptor import ServiceDescriptor

DATA, SERVICE = "xds.data.orca.v3", "xds.service.orca.v3"
DATA_FILE, SERVICE_FILE = "xds/data/orca/v3/orca_load_report.proto", "xds/service/orca/v3/orca.proto"
_Field = descriptor_pb2.FieldDescriptorProto
_DOUBLES = {"cpu_utilization": 1, "mem_utilization": 2, "rps_fractional": 6, "eps": 7, "application_utilization": 9}
_MAPS = {"request_cost": 4, "utilization": 5, "named_metrics": 8}


def data_file() -> descriptor_pb2.FileDescriptorProto:
    """The file of `OrcaLoadReport`."""
    file = descriptor_pb2.FileDescriptorProto(name=DATA_FILE, package=DATA, syntax="proto3")
    report = file.message_type.add(name="OrcaLoadReport")
    for name, number in _DOUBLES.items():
        report.field.add(name=name, number=number, type=_Field.TYPE_DOUBLE, label=_Field.LABEL_OPTIONAL)
    old = report.field.add(name="rps", number=3, type=_Field.TYPE_UINT64, label=_Field.LABEL_OPTIONAL)
    old.options.deprecated = True
    for name, number in _MAPS.items():
        entry = report.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
        entry.field.add(name="value", number=2, type=_Field.TYPE_DOUBLE, label=_Field.LABEL_OPTIONAL)
        report.field.add(
            name=name,
            number=number,
            type=_Field.TYPE_MESSAGE,
            label=_Field.LABEL_REPEATED,
            type_name=f".{DATA}.OrcaLoadReport.{entry.name}",
        )
    return file


def service_file() -> descriptor_pb2.FileDescriptorProto:
    """The file of the service and its request."""
    file = descriptor_pb2.FileDescriptorProto(name=SERVICE_FILE, package=SERVICE, syntax="proto3")
    file.dependency.extend([DATA_FILE, duration_pb2.DESCRIPTOR.name])
    request = file.message_type.add(name="OrcaLoadReportRequest")
    request.field.add(
        name="report_interval",
        number=1,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_OPTIONAL,
        type_name=".google.protobuf.Duration",
    )
    request.field.add(name="request_cost_names", number=2, type=_Field.TYPE_STRING, label=_Field.LABEL_REPEATED)
    service = file.service.add(name="OpenRcaService")
    service.method.add(
        name="StreamCoreMetrics",
        input_type=f".{SERVICE}.OrcaLoadReportRequest",
        output_type=f".{DATA}.OrcaLoadReport",
        server_streaming=True,
    )
    return file


POOL = descriptor_pool.DescriptorPool()
for _file in (
    duration_pb2.DESCRIPTOR.serialized_pb,
    data_file().SerializeToString(),
    service_file().SerializeToString(),
):
    POOL.AddSerializedFile(_file)
OPEN_RCA: ServiceDescriptor = POOL.FindServiceByName(f"{SERVICE}.OpenRcaService")
OrcaLoadReport: Any = message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{DATA}.OrcaLoadReport"))
OrcaLoadReportRequest: Any = message_factory.GetMessageClass(
    POOL.FindMessageTypeByName(f"{SERVICE}.OrcaLoadReportRequest")
)
