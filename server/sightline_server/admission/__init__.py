"""Admission of calls: how many may be open, how many may run, and how much memory their messages may take.

Rule: no gRPC here. A limit is a value or a block to be entered; `rpc/` enters them in the order of a call. A service
with other limits gets its own instances.
"""
