"""Replicas of a catalog: the revisions of its one writer, published to a folder that other machines can read.

    catalog's folder -> publisher -> SHARE/{CURRENT, objects/} -> follower -> a copy on each replica -> served
Rule: nothing is believed before its digest is right, and nothing is replaced before that.
"""
