"""The edge: gRPC in and out, and nothing of gRPC below it."""
