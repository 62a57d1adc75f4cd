"""The same search as an application of LitServe."""
