"""Searches and writes of one catalog at the same time, and what each does to the other."""
