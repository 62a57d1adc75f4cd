"""Two catalogs of different dimension, each with its own embedder, under load at once."""
