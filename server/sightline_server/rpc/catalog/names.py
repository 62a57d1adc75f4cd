"""Resource names and page tokens.

    catalogs/{catalog}, catalogs/{catalog}/products/{id in percent encoding}, catalogs/{catalog}/revisions/{number}
Rule: an id has one name and a name one id. An id is compared as its bytes are: nothing is trimmed or normalised.
"""

import base64
import binascii
import hashlib
import re
import unicodedata
from urllib.parse import quote, unquote_to_bytes

from sightline_server.errors import SightlineError
from sightline_server.rpc.refusals import invalid

MAX_ID_BYTES = 256
NOWHERE = "?"
"""A catalog that no server has, for access checks of a name that cannot be read."""
CATALOG = re.compile(r"catalogs/([^/]+)")
PRODUCT = re.compile(r"catalogs/([^/]+)/products/([^/]+)")
REVISION = re.compile(r"catalogs/([^/]+)/revisions/([1-9][0-9]{0,17})")
ENCODED = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+")


def catalog_in(name: str) -> str:
    """The catalog that any resource name begins with, for access checks; `NOWHERE` in a name that has none."""
    found = CATALOG.match(name)
    return found[1] if found else NOWHERE


def check_catalog(field: str, name: str) -> None:
    """Raises `SightlineError` for a text that is not the name of a catalog."""
    if not CATALOG.fullmatch(name):
        raise invalid(field, "expected catalogs/{catalog}")


def product_id_in(field: str, name: str, catalog: str) -> str:
    """The product id of a name in `catalog`. Raises `SightlineError`."""
    found = PRODUCT.fullmatch(name)
    if not found or not ENCODED.fullmatch(found[2]):
        raise invalid(
            field, "expected catalogs/{catalog}/products/{product}, where {product} is the id in percent encoding"
        )
    if found[1] != catalog:
        raise invalid(field, "the product is of another catalog than the request")
    try:
        product_id = unquote_to_bytes(found[2]).decode()
    except UnicodeDecodeError:
        raise invalid(field, "the id is not UTF-8 text") from None
    check_id(field, product_id)
    return product_id


def revision_in(field: str, name: str) -> int:
    """The number in the name of a revision. Raises `SightlineError`."""
    found = REVISION.fullmatch(name)
    if not found:
        raise invalid(field, "expected catalogs/{catalog}/revisions/{number}")
    return int(found[2])


def check_id(field: str, product_id: str) -> None:
    """Raises `SightlineError` for a text that cannot be the id of a product."""
    if not product_id:
        raise invalid(field, "a product needs an id")
    if len(product_id.encode()) > MAX_ID_BYTES:
        raise invalid(field, f"an id has at most {MAX_ID_BYTES} bytes")
    if any(unicodedata.category(each) == "Cc" for each in product_id):
        raise invalid(field, "an id has no control characters")


def catalog_name(catalog: str) -> str:
    """The name of a catalog."""
    return f"catalogs/{catalog}"


def product_name(catalog: str, product_id: str) -> str:
    """The name of a product."""
    return f"catalogs/{catalog}/products/{quote(product_id, safe='')}"


def revision_name(catalog: str, number: int) -> str:
    """The name of a revision."""
    return f"catalogs/{catalog}/revisions/{number}"


def page_token(scope: str, after: str) -> str:
    """The token of the page after `after` in the list `scope`."""
    return base64.urlsafe_b64encode(seal(scope, after.encode()) + after.encode()).decode()


def page_start(scope: str, token: str) -> str:
    """The item that the page of `token` comes after; empty for the first page.

    Raises `SightlineError` for a token of another list, and for a text that is not a token.
    """
    if not token:
        return ""
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
        after = data[8:].decode()
    except (binascii.Error, ValueError):
        raise other_list() from None
    if data[:8] != seal(scope, data[8:]):
        raise other_list()
    return after


def seal(scope: str, after: bytes) -> bytes:
    """Eight bytes that bind a token to its list. They find mistakes; nothing secret depends on them."""
    return hashlib.sha256(scope.encode() + b"\0" + after).digest()[:8]


def other_list() -> SightlineError:
    """The error of a token that this list did not give."""
    return invalid("page_token", "it is not a token of this list; begin again without one")
