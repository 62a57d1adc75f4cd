"""Calls of Milvus, each with a time limit. The only module that imports pymilvus.

Rule: calls block and run in threads. Whatever pymilvus raises becomes a `SightlineError` here, and its log is switched
off: it writes whole errors, in which the text of a filter may be.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Read at its import: without it, pymilvus would take variables from any `.env` file above its folder.
os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")

from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.milvus import fields
from sightline_server.index.milvus.facts import CollectionFacts

logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)

CALL_S = 5.0
THREADS = 8
"""Calls of one connection at the same time."""
SLOW_S = 3600.0
"""Building an index and loading a collection."""
MOST_HITS = 16_384
"""That one search or query returns; a limit of Milvus."""
SEARCH = "search"
"""A method of the client, and the name of its calls in the metrics."""
RETRY_S = 2.0
"""After which a caller should try again while Milvus is away."""
METRIC = "IP"
BEAT = "sightline.beat"
"""A property of a collection that stands for a lease; its holder changes it again and again."""
UNCHANGED = "Eventually"
"""Consistency of reads of a collection that does not change once it is active: there is nothing newer to wait for."""
BOUNDED = "Bounded"
"""Consistency of searches of one that is written: not older than some seconds, without a wait for the latest write."""
STRONG = "Strong"
"""Consistency of checks: after everything that was written before the call."""
HNSW = {"M": 16, "efConstruction": 200}
LEAST_EF = 128


class CallObserver(Protocol):
    """Is notified of calls of Milvus."""

    def called(self, call: str, seconds: float, *, failed: bool) -> None:
        """A call took `seconds`."""


class Unobserved:
    """Ignores calls."""

    def called(self, call: str, seconds: float, *, failed: bool) -> None:
        """See `CallObserver`."""


class Milvus:
    """A connection to the Milvus at `uri`, such as http://HOST:19530; with https its certificate is checked.

    Any thread may call it; `threads` are for its calls alone, so that a slow Milvus holds up nothing else. Methods
    raise `SightlineError` of kind INDEX_UNAVAILABLE when Milvus does not answer in time or refuses.
    """

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        ca_file: str = "",
        call_s: float = CALL_S,
        observer: CallObserver | None = None,
    ) -> None:
        self._call_s = call_s
        self._observer = observer or Unobserved()
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="milvus")
        secure: dict[str, Any] = {"server_pem_path": ca_file} if ca_file else {}
        # Dedicated: a connection that is shared within the process keeps its first token, and stays open after `close`.
        self._client: MilvusClient = self._measured(
            "connect", lambda: MilvusClient(uri, token=token, timeout=call_s, dedicated=True, **secure)
        )

    def close(self) -> None:
        """Closes the connection; running calls end first."""
        self.threads.shutdown()
        self._client.close()

    def version(self) -> str:
        """The version of the server."""
        return str(self._call("version", "get_server_version"))

    def active(self, alias: str, *, limit_s: float | None = None) -> str | None:
        """The collection that `alias` names; None where there is no such alias."""
        try:
            return str(self._call("alias", "describe_alias", alias, limit_s=limit_s)["collection_name"])
        except SightlineError as error:
            if isinstance(error.__cause__, MilvusException) and self._answers():
                return None
            raise

    def _answers(self) -> bool:
        """Raises where Milvus does not answer at all."""
        self.collections("")
        return True

    def collections(self, prefix: str) -> list[str]:
        """The names of the collections that begin with `prefix`."""
        return [name for name in self._call("list", "list_collections") if name.startswith(prefix)]

    def description(self, collection: str) -> str:
        """The description of `collection`."""
        return str(self._call("describe", "describe_collection", collection)["description"])

    def create(self, collection: str, facts: CollectionFacts, dimension: int) -> None:
        """Creates an empty collection that describes itself by `facts`."""
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=facts.text())
        schema.add_field(fields.PRIMARY, DataType.INT64, is_primary=True)
        schema.add_field(fields.VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
        for name in fields.NUMBERS:
            schema.add_field(name, DataType.INT64)
        for name in fields.TEXTS:
            schema.add_field(name, DataType.VARCHAR, max_length=fields.MOST_BYTES)
        for name in fields.LISTS:
            schema.add_field(
                name,
                DataType.ARRAY,
                element_type=DataType.VARCHAR,
                max_capacity=fields.MOST_VALUES,
                max_length=fields.MOST_BYTES,
            )
        self._call("create", "create_collection", collection, schema=schema, consistency_level=STRONG)

    def reserve(self, name: str, description: str) -> bool:
        """Creates a collection without rows that says `description`; returns whether it did, False where there is one.

        Milvus refuses a second collection of the same name whose description is another one, so of several callers at
        the same time one succeeds.
        """
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
        schema.add_field(fields.PRIMARY, DataType.INT64, is_primary=True)
        schema.add_field(fields.VECTOR, DataType.FLOAT_VECTOR, dim=2)
        try:
            self._call("create", "create_collection", name, schema=schema)
        except SightlineError as error:
            if isinstance(error.__cause__, MilvusException) and self.reserved(name) is not None:
                return False
            raise
        return True

    def reserved(self, name: str) -> tuple[str, str] | None:
        """The description of the collection that `reserve` made and its last beat; None where there is none."""
        try:
            found = self._call("describe", "describe_collection", name)
        except SightlineError as error:
            if isinstance(error.__cause__, MilvusException) and name not in self.collections(name):
                return None
            raise
        return str(found["description"]), str(found["properties"].get(BEAT, ""))

    def beat(self, name: str, value: str) -> None:
        """Notes `value` as the last beat of a collection that `reserve` made."""
        self._call("beat", "alter_collection_properties", name, {BEAT: value})

    def insert(self, collection: str, rows: Sequence[fields.Row], *, limit_s: float = SLOW_S) -> None:
        """Writes `rows`; Milvus does not compare their numbers with those that are there."""
        self._call("insert", "insert", collection, list(rows), limit_s=limit_s)

    def delete(self, collection: str, images: Sequence[int], *, limit_s: float | None = None) -> None:
        """Deletes the rows of these numbers."""
        self._call("delete", "delete", collection, ids=list(images), limit_s=limit_s)

    def finish(self, collection: str, index: str) -> None:
        """Seals what was written, builds an index of type FLAT or HNSW, and loads the collection."""
        self._call("flush", "flush", collection, limit_s=SLOW_S)
        params = MilvusClient.prepare_index_params()
        more = {"params": HNSW} if index == "HNSW" else {}
        params.add_index(fields.VECTOR, index_type=index, metric_type=METRIC, **more)
        self._call("index", "create_index", collection, params, limit_s=SLOW_S)
        self.load(collection)

    def load(self, collection: str) -> None:
        """Loads the collection into the memory of Milvus."""
        self._call("load", "load_collection", collection, limit_s=SLOW_S)

    def drop(self, collection: str) -> None:
        """Removes a collection."""
        self._call("drop", "drop_collection", collection)

    def activate(self, alias: str, collection: str, *, existing: bool) -> None:
        """Makes `alias` name `collection`, in one step; `existing` says whether there is the alias."""
        self._call("alias", "alter_alias" if existing else "create_alias", collection, alias)

    def count(self, collection: str, expression: str = "", *, consistency: str = UNCHANGED) -> int:
        """The number of rows that meet `expression`."""
        found = self._call(
            *("count", "query", collection),
            filter=expression,
            output_fields=["count(*)"],
            consistency_level=consistency,
        )
        return int(found[0]["count(*)"])

    def query(
        self,
        collection: str,
        expression: str,
        names: Sequence[str],
        *,
        limit: int = MOST_HITS,
        consistency: str = UNCHANGED,
        limit_s: float | None = None,
    ) -> list[Mapping[str, Any]]:
        """The fields `names` of at most `limit` rows that meet `expression`, in no order."""
        found = self._call(
            *("query", "query", collection),
            filter=expression,
            output_fields=list(names),
            limit=limit,
            consistency_level=consistency,
            limit_s=limit_s,
        )
        return list(found)

    def search(
        self,
        collection: str,
        queries: NDArray[np.float32],
        k: int,
        expression: str,
        names: Sequence[str],
        *,
        consistency: str = UNCHANGED,
    ) -> list[list[Mapping[str, Any]]]:
        """For each of `queries` [B,D] its `k` nearest rows, most similar first.

        Each has the fields `names`, its number as `image`, and its inner product with the query as `distance`.
        """
        found = self._call(
            SEARCH,
            SEARCH,
            collection,
            data=list(queries),
            limit=k,
            filter=expression,
            output_fields=list(names),
            search_params={"metric_type": METRIC, "params": {"ef": max(k, LEAST_EF)}},
            consistency_level=consistency,
        )
        return [[flat(hit) for hit in hits] for hits in found]

    def _call(self, call: str, method: str, *args: Any, limit_s: float | None = None, **options: Any) -> Any:
        timeout = limit_s or self._call_s
        return self._measured(call, lambda: getattr(self._client, method)(*args, timeout=timeout, **options))

    def _measured(self, call: str, work: Any) -> Any:
        began, failed = time.monotonic(), True
        try:
            done = work()
            failed = False
        except Exception as error:  # pymilvus raises whatever its transport meets
            message = "the catalog's Milvus does not answer, or refused; try again later"
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=RETRY_S) from error
        finally:
            self._observer.called(call, time.monotonic() - began, failed=failed)
        return done


def flat(hit: Any) -> Mapping[str, Any]:
    """One hit with all of its values side by side; pymilvus has a field `id` of ours below its own `id`."""
    return {**hit["entity"], fields.PRIMARY: dict.__getitem__(hit, "id"), "distance": hit["distance"]}
