"""Writing of product feeds: the products of a catalog in the formats that `ingest/feeds` reads.

Rule: what is written is read again, row by row, before it is kept. A row whose columns do not give the same product
carries the exact one as well (`feeds/exact.py`), so that no field is lost in any format.
"""
