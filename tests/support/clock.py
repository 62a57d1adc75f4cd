"""A clock that goes when a test says so."""


class HandClock:
    """Stands for `time.monotonic`; `now` is set by the test."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The instant that the test set."""
        return self.now
