"""A second service, as small as one can be: what a method costs that is taken by the same edge as a search."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Catalogs
from sightline_server.rpc.call import Call
from sightline_server.rpc.edge import Edge, Handler
from sightline_server.rpc.method import Method, Target

NAME = "shop.v1.PriceService"
FIELDS = {"GetPriceRequest": {"catalog": 9, "row": 3}, "Price": {"title": 9, "revision": 9}}
"""Message -> field -> type number of protobuf: 9 is a string, 3 an int64."""


def proto() -> descriptor_pb2.FileDescriptorProto:
    """The file that `protoc` would make of the service's contract."""
    file = descriptor_pb2.FileDescriptorProto(name="shop/v1/price_service.proto", package="shop.v1", syntax="proto3")
    for message, fields in FIELDS.items():
        added = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields.items(), 1):
            added.field.add(name=field, number=number, type=kind, label=1)
    method = file.service.add(name="PriceService").method.add(name="GetPrice")
    method.input_type, method.output_type = ".shop.v1.GetPriceRequest", ".shop.v1.Price"
    return file


pool = descriptor_pool.Default()
pool.AddSerializedFile(proto().SerializeToString())
GetPriceRequest: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.v1.GetPriceRequest"))
Price: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.v1.Price"))
GET_PRICE: Method[Any, Any] = Method(
    pool.FindServiceByName(NAME).methods_by_name["GetPrice"],
    request=GetPriceRequest,
    response=Price,
    target=lambda request: Target(request.catalog),
)


class PriceService:
    """Satisfies `rpc.edge.Service`. Its method costs the five lines below and the check of its request."""

    name = NAME

    def __init__(self, edge: Edge, catalogs: Catalogs) -> None:
        self._edge = edge
        self._catalogs = catalogs

    def handlers(self) -> Mapping[str, Handler]:
        """See `Service`."""
        return {"GetPrice": self._edge.handler(GET_PRICE, to_row, self.get_price)}

    async def get_price(self, row: int, catalog: CatalogPass, call: Call[Any]) -> None:
        """Sends the product of a row."""
        with self._catalogs.lease(catalog) as snapshot:
            (product,) = snapshot.products([row])
            await call.send(Price(title=product.title, revision=snapshot.revision))


def to_row(request: Any, catalog: CatalogPass, call: Call[Any]) -> int:
    """The row that the request asks for. Raises `SightlineError`."""
    if request.row < 0:
        raise SightlineError(ErrorKind.INVALID_REQUEST, "row: must be 0 or more", field="row")
    return int(request.row)
