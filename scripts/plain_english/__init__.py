"""Counts words of the project's private jargon in its texts, and fails when a file gets more of them."""
