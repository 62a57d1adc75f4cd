"""Rows of a catalog with a log -> rows of a collection: those of an operation have numbers that no other one has.

Rule: the numbers follow from the sequence number, so that an operation that is written again makes the same rows.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from sightline_server.index.faiss_index import normalised
from sightline_server.index.milvus import fields
from sightline_server.index.milvus.reach import first_row, product_number
from sightline_server.index.opened_catalog import display_table
from sightline_server.index.schema import DISPLAY_COLUMNS, PRICE_COLUMNS


def rows_of_table(table: pa.Table, seqs: Mapping[str, int]) -> list[fields.Row]:
    """Every image of the products of `table`, which has the columns of a catalog; `seqs` are their operations by id.

    Raises `SightlineError` of kind INVALID_REQUEST for a text that Milvus has no room for.
    """
    batches = table.combine_chunks().to_batches()
    if not table.num_rows:
        return []
    display = display_table([batch.select(list(DISPLAY_COLUMNS)) for batch in batches])
    places = [seqs[product_id] for product_id in display["id"].to_pylist()]
    products = fields.ProductRows(display, table.select(list(PRICE_COLUMNS)), list(map(product_number, places)))
    rows: list[fields.Row] = []
    for product, (links, vectors) in enumerate(
        zip(table["images"].to_pylist(), table["embeddings"].to_pylist(), strict=True)
    ):
        shown = products.row(product)
        units = normalised(np.array(vectors, np.float32))
        for place, (link, vector) in enumerate(zip(links, units, strict=True)):
            row = {fields.PRIMARY: first_row(places[product]) + place, fields.VECTOR: vector, **shown}
            link = fields.checked_text(shown["id"], "image", link)
            rows.append(row | {"link_of_image": link, "first_image": int(place == 0)})
    return rows
