"""Load tests over the real gRPC channel; README.md says which command answers which question."""
