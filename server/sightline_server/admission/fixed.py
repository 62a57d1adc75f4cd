"""A number of calls that may be inside at once, whatever their times are: for services whose calls take very different
times, such as streams of minutes next to reads of milliseconds."""

from sightline_server.admission.limiter import AdaptiveLimit


class FixedLimit(AdaptiveLimit):
    """`calls` calls. It learns nothing, and expects no time."""

    def __init__(self, calls: int) -> None:
        super().__init__(target_s=float("inf"), floor=calls, ceiling=calls)

    def expected_s(self, inside: int) -> float:
        """0: see the class."""
        return 0.0

    def sample(self, seconds: float, inside: int) -> None:
        """Nothing: see the class."""
