"""Load tests over the real gRPC channel; `make bench` runs `bench.py`."""
