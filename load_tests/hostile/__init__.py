"""Hostile calls of every kind against a server with workers, access, consent and audit: `python -m load_tests.hostile`.

materials -> mix (a seeded choice of kinds) -> attacker (a process) -> judging (bounds)
"""
