"""A power cut at any acknowledged write of a catalog, replayed from a trace of the writer's system calls."""
