"""The assumptions of the sizing, which nobody has measured. Each value can be changed on the command line."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assumed:
    """The assumptions of a sizing; the string below each says why it has this value."""

    dimension: int = 256
    """Numbers of an embedding; the size of the large catalogs that were measured. 1280 takes five times as much."""
    load: float = 0.7
    """Share of its most that a machine is given: the load at which the p99 of `make bench` must stay within 3 x p50."""
    spare: int = 1
    """Machines, and copies of a search tier, beyond what the load needs: one may fail or be replaced."""
    memory: float = 0.9
    """Share of a GPU's memory that is planned for."""
    search_ms: float = 50.0
    """Longest search of a batch of 64 queries in a search tier; a larger catalog is divided over more GPUs."""
    machine_usd_per_hour: float = 4.0
    """An example price of a machine with one such GPU. Put your own here: every cost is in proportion to it."""
