"""The twelve promises, in the order of `docs/operate/privacy.md`."""

from enum import Enum


class Promise(Enum):
    """A promise: its name, and what it says."""

    GRANT = "grant", "a grant works once, for one photo, and only from the consent service"
    PURPOSE = "purpose", "a grant for another purpose is refused"
    MINIMISATION = "minimisation", "EXIF and GPS never leave decoding"
    NO_SWEEP = "no gallery sweep", "a caller cannot search a whole gallery"
    RETENTION = "zero retention", "nothing of a photo or of its answer is kept"
    NO_PROFILING = "no profiling", "the same photo gives the same answer to every caller"
    ERRORS = "content-free errors", "a refusal repeats nothing of its request"
    AUDIT = "audit", "every call is recorded, without a fact about its photo"
    DISCLOSURE = "disclosure", "nothing moves a product for money; each rank explains itself"
    PEOPLE = "people", "people are not searched"
    ERASURE = "erasure", "there is nothing to erase"
    DEFAULTS = "defaults off", "what a catalog has not switched on is refused, not ignored"

    def __init__(self, title: str, statement: str) -> None:
        self.title = title
        self.statement = statement
