"""The log of gRPC itself, kept free of what callers send.

grpc.aio logs the bytes of metadata that is not UTF-8, three times a call and with a traceback. They may be a credential
with one wrong byte, and a caller could fill the log with them. The value itself arrives as text and is then refused.
It also logs an error with a traceback for a status that it cannot send because the call has ended already, by its
deadline for example. Callers bring that about as often as they like, and our own line about the call has its code.
"""

import logging

from grpc._cython import cygrpc  # type: ignore[attr-defined]


class NoBytes(logging.Filter):
    """Drops records about bytes: gRPC has them from a caller only."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the record has no bytes."""
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        return not any(isinstance(each, bytes) for each in arguments)


class NoEndedCalls(logging.Filter):
    """Drops records about calls that ended while their status was on its way."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the record is about something else; operations that gRPC takes for wrong are."""
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, cygrpc.ExecuteBatchError) and str(error).startswith(FAILED_BATCH))


FAILED_BATCH = 'Failed "execute_batch"'
"""The beginning of the text for operations that were right and came too late."""
NO_BYTES, NO_ENDED_CALLS = NoBytes(), NoEndedCalls()


def without_noise_of_callers() -> None:
    """Keeps what callers can write out of the log of this process; may be called often."""
    for each in (NO_BYTES, NO_ENDED_CALLS):
        logging.getLogger(cygrpc.__name__).addFilter(each)
