"""Samples of a server, its processes and the machine, taken from outside."""
