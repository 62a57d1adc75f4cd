"""Searching only what a filter lets through: columns -> mask of products -> plan -> search.

Rule: fail closed. What does not match is never compared, or the index was seen to skip it; no search is made first and
its answer thinned out afterwards.
"""
