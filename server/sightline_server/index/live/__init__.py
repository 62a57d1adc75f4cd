"""A catalog that is searched while it is written to: a base that never changes, and what was written since.

Rule: nothing is copied to publish a write. Rows have numbers of birth and death, and a view is one number.
"""
