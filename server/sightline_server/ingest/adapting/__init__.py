"""The adapter of a catalog: fitted from photos of its shop, and kept only when it brings something.

    embeddings of photos, catalog images -> candidates fitted on one half -> measured on the other -> one, fitted on all
Everything here is numpy on embeddings; `app/adapting.py` makes them, and `sightline adapt` runs both.
"""
