"""The same search as an application of BentoML."""
