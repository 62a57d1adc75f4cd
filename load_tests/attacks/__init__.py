"""Attacks on one's own server, each with the bounds that it must keep: `python -m load_tests.attacks [NAME ...]`.

A new attack is a file here that defines `ATTACK`, and a line in `__main__.py`.
"""
