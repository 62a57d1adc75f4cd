"""Catalogs whose vectors and products are in Milvus: one collection for each revision, one row for each image.

Rule: a collection never changes once its alias names it. `pushing` makes one and checks it first; `opening` opens the
one that the alias names; `client` is the only module that imports pymilvus.
"""
