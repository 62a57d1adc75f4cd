"""The one exception of this package.

Place in the flow: raised anywhere in `sightline_models`, printed as one line by the command. Its one rule: the text is
complete for the person who reads it; a hash that differs is always given as expected and found.
"""


class ModelError(Exception):
    """A model, or what it is made from, is missing, wrong or tampered with."""


class HashMismatchError(ModelError):
    """Bytes that are not the pinned ones.

    Args:
        what: the file or member in question.
        expected: pinned SHA-256, hexadecimal.
        found: SHA-256 of what is there, hexadecimal.
        remedy: what the reader can do about it, a clause without a full stop.
    """

    def __init__(self, what: str, *, expected: str, found: str, remedy: str) -> None:
        super().__init__(f"{what}: expected sha256 {expected}, found {found}; {remedy}")
        self.expected = expected
        self.found = found


class NoHomeError(ModelError):
    """There is no folder for what Sightline installs and keeps: this user has no home and SIGHTLINE_HOME is not set."""

    def __init__(self) -> None:
        super().__init__("this user has no home folder: set SIGHTLINE_HOME to a folder for engine, models and catalogs")
