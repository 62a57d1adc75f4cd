"""The names by which errors call the messages of a service, because gRPC's own texts name none of them."""

from dataclasses import dataclass

from sightline_client import errors


@dataclass(frozen=True, slots=True)
class Wording:
    """The words for one service.

    `answer` names one message of an answer, `way_out` what helps besides a higher limit when it is too large.
    `not_offered` is the message for a server that does not have the service at this address.
    """

    answer: str
    way_out: str
    request_too_large: type[errors.SightlineError]
    not_offered: str = ""


SEARCH = Wording("an event of the answer", ", or ask for fewer products with max_products", errors.PhotoTooLargeError)
CATALOG = Wording(
    "an answer",
    ", or ask for smaller pages with page_size",
    errors.RequestTooLargeError,
    "the server at the target has no CatalogService: use the address of the server's setting server.catalog_listen",
)
SERVER_INFO = Wording(
    "the description of the server", "", errors.RequestTooLargeError, "this server is too old to describe itself"
)
