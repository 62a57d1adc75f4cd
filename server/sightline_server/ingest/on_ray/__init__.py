"""A catalog that is built with Ray: the images are embedded on the nodes of a cluster, the rest is the ordinary build.

    feed -> blocks of links -> workers: fetch, decode, embed -> one Parquet file a block -> `build_catalog`
Rule: Ray moves links to workers and embeddings back, and decides nothing. The catalog is the one that a local build of
the same feed makes. Only `pool` imports Ray.
"""
