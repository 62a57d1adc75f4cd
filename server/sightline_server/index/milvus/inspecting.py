"""The state of a catalog in Milvus, for one that asks about it and serves nothing.

Rule: it reads and changes nothing, and takes no lease.
"""

from dataclasses import dataclass

from sightline_server.index.milvus.client import STRONG, Milvus
from sightline_server.index.milvus.facts import CollectionFacts
from sightline_server.index.milvus.lease import holder_in
from sightline_server.index.milvus.names import alias_of, lease_of


@dataclass(frozen=True, slots=True)
class MilvusState:
    """`version` is that of the server. `collection` is the one that `alias` names; None where there is none.

    `holder` describes the process that changes the catalog; empty where none does.
    """

    version: str
    alias: str
    collection: str | None
    products: int = 0
    images: int = 0
    revision: str = ""
    writable: bool = False
    holder: str = ""


def state_in(milvus: Milvus, name: str) -> MilvusState:
    """The state of catalog `name`; blocking.

    Raises `SightlineError`: INDEX_UNAVAILABLE where Milvus does not answer, CONFIGURATION where the collection is not
    ours.
    """
    version, alias = milvus.version(), alias_of(name)
    reserved = milvus.reserved(lease_of(name))
    holder = holder_in(reserved[0]) if reserved else ""
    collection = milvus.active(alias)
    if collection is None:
        return MilvusState(version, alias, None, holder=holder)
    facts = CollectionFacts.parse(milvus.description(collection))
    images = milvus.count(collection, consistency=STRONG)
    products = milvus.count(collection, "first_image == 1", consistency=STRONG)
    return MilvusState(version, alias, collection, products, images, facts.revision, facts.writable, holder)
