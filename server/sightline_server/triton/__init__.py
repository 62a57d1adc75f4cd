"""Talks to a Triton, wherever it runs: calls its models, probes it, and restarts it through its host.

Rule: nothing outside of this package imports `tritonclient`; the rest of the server sees `ports.Engine`.
"""
