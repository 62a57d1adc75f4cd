"""The server's own stages called directly, with no server."""
