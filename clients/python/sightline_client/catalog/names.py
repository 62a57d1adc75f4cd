"""Resource names of the contract (AIP-122): catalogs/{catalog}/products/{product} and their parts.

Rule: a product's id is percent-encoded (RFC 3986), so that it may contain slashes.
"""

from urllib.parse import quote, unquote


def catalog_name(catalog: str) -> str:
    """The name of a catalog."""
    return f"catalogs/{catalog}"


def product_name(catalog: str, product_id: str) -> str:
    """The name of a product."""
    return f"{catalog_name(catalog)}/products/{quote(product_id, safe='')}"


def revision_name(catalog: str, number: int) -> str:
    """The name of a revision."""
    return f"{catalog_name(catalog)}/revisions/{number}"


def catalog_of(name: str) -> str:
    """The catalog of any name; the text itself if it is not a name."""
    parts = name.split("/")
    return parts[1] if len(parts) > 1 and parts[0] == "catalogs" else name


def product_of(name: str) -> str:
    """The id of the product of a name, empty if it is not the name of a product."""
    parts = name.split("/")
    return unquote(parts[3]) if len(parts) == 4 and parts[2] == "products" else ""
