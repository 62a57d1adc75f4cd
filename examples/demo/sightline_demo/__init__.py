"""The `sightline demo` command: a user of the client and of the server."""
