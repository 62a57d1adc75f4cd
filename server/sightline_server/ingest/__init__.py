"""A shop's product feed -> images -> embeddings -> catalog.

Rule: a bad row costs that row, never the build, unless the caller is strict; and every one is reported.
"""
