"""Choosing the index of a catalog: exact up to a stated size, above it the cheapest one that was measured to be right.

Rule: an index is chosen by measurements on the catalog's own vectors, away from searches, and recorded next to the
catalog. A server builds or loads what is recorded and tries nothing.
"""
