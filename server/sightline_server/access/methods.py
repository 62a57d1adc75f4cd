"""The methods that a policy may name, and the groups that stand for several of them.

Rule: every method of every service is in exactly one group; tests/unit/access compares this table with the services.
"""

from types import MappingProxyType

GROUPS = MappingProxyType(
    {
        "search": frozenset({"Search", "GetServerInfo"}),
        "embeddings": frozenset({"SearchEmbeddings"}),
        "read": frozenset(
            {
                *("GetProduct", "ListProducts", "GetCatalog", "ListCatalogs", "ListRevisions"),
                *("GetOperation", "ListOperations", "WaitOperation"),
            }
        ),
        "write": frozenset(
            {
                *("UpsertProducts", "UpdateProducts", "DeleteProducts", "ActivateRevision"),
                *("ImportProducts", "ExportProducts", "ReembedCatalog", "CancelOperation"),
            }
        ),
        "manage": frozenset({"CreateCatalog", "DeleteCatalog"}),
    }
)
"""Group -> methods. `ExportProducts` writes a file on the server, so it is not in `read`. Nobody but its caller can see
what an embedding shows, people included, so `SearchEmbeddings` is not in `search`."""
METHODS = frozenset().union(*GROUPS.values())
EVERY = "*"


def methods_named(word: str) -> frozenset[str]:
    """The methods that `word` stands for: a group, a method or `*`. Raises `KeyError` for another word."""
    if word == EVERY:
        return METHODS
    return GROUPS[word] if word not in METHODS else frozenset({word})
