"""Types of the settings that hold an address; `domain/address.py` parses them.

Rule: a refused address is reported with the parser's own message.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from sightline_server.domain.address import (
    Address,
    TcpAddress,
    parse_endpoint,
    parse_listener,
    parse_target,
    parse_tcp_listener,
)

T = TypeVar("T")


def parsed_by(parse: Callable[[str], T]) -> Callable[[Any], Any]:
    """A validator that parses what is written by `parse` and reports its `ValueError` as it is."""

    def validate(value: Any) -> Any:
        if value is None or isinstance(value, Address):
            return value
        try:
            return parse(str(value))
        except ValueError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None

    return validate


AS_TEXT = PlainSerializer(lambda address: None if address is None else str(address), return_type=str | None)
Listener = Annotated[Address, BeforeValidator(parsed_by(parse_listener)), AS_TEXT, NoDecode]
TcpListener = Annotated[TcpAddress, BeforeValidator(parsed_by(parse_tcp_listener)), AS_TEXT, NoDecode]
Target = Annotated[Address | None, BeforeValidator(parsed_by(parse_target)), AS_TEXT, NoDecode]
Endpoint = Annotated[str | None, BeforeValidator(parsed_by(parse_endpoint))]
