"""`sightline privacy verify`: checks a running server for the twelve promises of `docs/operate/privacy.md`.

    canary photos -> real gRPC channel -> the server -> answers, errors, log, metrics, spans, audit, files, memory
Rule: it knows the server as its callers and its operator do. It imports the client and the contract, nothing of the
server, so that a fault of the server cannot hide itself here.
"""
