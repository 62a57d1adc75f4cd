"""The embedded engine: installs a Triton for this machine, starts it with its models, and cleans up after it.

Rule: only `app/embedded.py` imports this package, and only for an embedded engine; a server with `engine.triton_url`
runs without it. It implements `triton.hosts.Host` and never calls the Triton that it runs: that is what `triton/` does.
"""
