"""Rounds of a whole server: its engine or itself is ended under gRPC writers, and the catalog is compared."""
