"""Scenario files, and the code that reads and plays them."""
