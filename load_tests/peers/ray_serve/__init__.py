"""The same search as an application of Ray Serve."""
