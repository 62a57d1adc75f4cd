"""The hot path on a GPU machine, and the same scripts in a small CPU mode."""
