"""Metrics, logs and traces of the server; none of them contains a fact about a photo."""
