"""Names in Milvus of a catalog's revisions: an alias for the active one, and a collection for each.

Rule: Milvus allows letters, digits and underscores. A name is encoded so that no two catalogs share one, and no
catalog's collections begin as another's do.
"""

import re
import uuid

PREFIX = "sightline_"
OTHER = re.compile(r"[^A-Za-z0-9]")


def alias_of(catalog: str) -> str:
    """The alias that names the active collection of `catalog`; every other character than a letter or digit in hex."""
    return PREFIX + OTHER.sub(lambda found: f"_{ord(found[0]):02x}", catalog)


def collections_of(catalog: str) -> str:
    """The beginning of the names of all collections of `catalog`. The encoding above never has two underscores."""
    return alias_of(catalog) + "__"


def lease_of(catalog: str) -> str:
    """The collection that stands for the lease of `catalog`. The encoding above has hex after an underscore, so no
    other catalog's alias is equal to it."""
    return alias_of(catalog) + "_lease"


def new_collection(catalog: str) -> str:
    """A name for a new collection of `catalog`."""
    return collections_of(catalog) + uuid.uuid4().hex[:16]
