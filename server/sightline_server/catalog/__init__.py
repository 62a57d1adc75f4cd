"""The store of a catalog that is written while it is served: an SQLite log in front of a Lance dataset.

Rule: the store knows Arrow rows with an `id`, not products, embedders or indexes; those are in `index`.
"""
