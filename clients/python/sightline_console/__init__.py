"""Safe output, exit codes and memory settings, shared by the commands of client, models and server.

Rule: imports nothing else of Sightline, so that each of the packages can use it without knowing another.
"""
