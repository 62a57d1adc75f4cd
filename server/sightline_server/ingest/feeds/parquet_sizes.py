"""Sizes of a Parquet file: what it declares, and what its values take once they are Python objects.

Rule: both are known before anything is unpacked. A text that a file of 3 kB repeats a thousand times is in it once, at
the top level as well as within lists and structs.
"""

from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sightline_server.ingest.feeds.options import FeedLimits
from sightline_server.ingest.feeds.records import refused

MAX_FIXED_BYTES = 4096
"""The longest value of a column of fixed length. Decimals and UUIDs have 16 bytes; each value is unpacked."""
FREE_LIST_VALUES, LIST_VALUES_PER_ROW = 1_000_000, 32
"""Values in lists that a group of rows may have, in all and for each of its rows: one row may hold them all."""
VALUE_BYTES = 64
"""Approximate bytes of a small Python object with its entry in a list."""


def checked_metadata(file: BinaryIO, name: str, limits: FeedLimits) -> pq.FileMetaData:
    """The file's own description. Raises `SightlineError` where it unpacks to far more than the file holds."""
    size = file.seek(0, 2)
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if unpacked > limits.unpacked_limit(size) or unpacked < 0:
        raise refused(f"{name} declares {unpacked} bytes unpacked in a file of {size}; that is too much to be a feed")
    in_groups = sum(group.num_rows for group in groups)
    if in_groups != metadata.num_rows:
        raise refused(f"{name} declares {metadata.num_rows} rows and {in_groups} in its row groups; it is damaged")
    if metadata.num_rows > size:
        raise refused(f"{name} declares {metadata.num_rows} rows in a file of {size} bytes; that cannot be")
    for index in range(metadata.num_columns):
        fault = column_fault(metadata.schema.column(index), groups, index)
        if fault:
            raise refused(f"{name} declares {fault}; that is too much to be a feed")
    return metadata


def column_fault(column: pq.ColumnSchema, groups: list[pq.RowGroupMetaData], index: int) -> str:
    """The declaration of a column that cannot be read within bounds; empty if it can."""
    if column.physical_type == "FIXED_LEN_BYTE_ARRAY" and column.length > MAX_FIXED_BYTES:
        return f"a column of values of {column.length} bytes"
    if column.max_repetition_level:
        for group in groups:
            values = group.column(index).num_values
            if values > FREE_LIST_VALUES + LIST_VALUES_PER_ROW * group.num_rows:
                return f"{values} values in the lists of {group.num_rows} rows"
    return ""


def text_columns(metadata: pq.FileMetaData) -> list[str]:
    """The paths of all columns of texts and bytes, those within lists and structs included."""
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY" and not is_decimal(column)]


def is_decimal(column: pq.ColumnSchema) -> bool:
    """Returns whether the bytes of a column are numbers."""
    return "DECIMAL" in (column.logical_type.type, column.converted_type)


def python_bytes(array: pa.Array) -> int:
    """About the bytes that the values of `array` take as Python objects."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return VALUE_BYTES * len(array) + repeated_bytes(array)
    if pa.types.is_struct(kind):
        return VALUE_BYTES * len(array) + sum(map(python_bytes, array.flatten()))
    if isinstance(array, pa.MapArray):
        start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return VALUE_BYTES * len(array) + python_bytes(array.values.slice(start, end - start))
    if isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return VALUE_BYTES * len(array) + python_bytes(array.flatten())
    return VALUE_BYTES * len(array) + int(array.nbytes)


def repeated_bytes(array: pa.DictionaryArray) -> int:
    """The bytes of all values of a dictionary array, each counted as often as it occurs."""
    lengths = pc.binary_length(array.dictionary)
    return int(pc.sum(pc.take(lengths, array.indices)).as_py() or 0)
