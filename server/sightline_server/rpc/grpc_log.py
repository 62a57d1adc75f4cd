"""The log of gRPC itself, kept free of what callers send.

grpc.aio logs the bytes of metadata that is not UTF-8, three times a call and with a traceback. They may be a credential
with one wrong byte, and a caller could fill the log with them. The value itself arrives as text and is then refused.
"""

import logging

from grpc._cython import cygrpc  # type: ignore[attr-defined]


class NoBytes(logging.Filter):
    """Drops records about bytes: gRPC has them from a caller only."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the record has no bytes."""
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        return not any(isinstance(each, bytes) for each in arguments)


NO_BYTES = NoBytes()


def without_bytes_of_callers() -> None:
    """Keeps the bytes of callers out of the log of this process; may be called often."""
    logging.getLogger(cygrpc.__name__).addFilter(NO_BYTES)
