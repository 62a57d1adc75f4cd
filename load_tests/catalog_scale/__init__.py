"""Catalogs of growing size: how build, start, memory, recall and latency grow with the number of products."""
