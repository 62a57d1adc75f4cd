"""Commands to a server that runs, over a Unix socket that only its user can reach.

    sightline catalog reload -> control/client.py -> socket in the server's runtime folder -> control/server.py
Rule: one line of JSON each way; the answer comes when the work is done.
"""
