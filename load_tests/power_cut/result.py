"""The outcome of all cuts of a run."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from load_tests.power_cut.disk import Guess


@dataclass
class Result:
    """Cuts, rebuilt disks, and those on which something was missing or could not be opened."""

    acknowledged: int = 0
    cuts: int = 0
    rebuilt: int = 0
    lost: int = 0

    def note(self, faults: Sequence[str], moment: int) -> None:
        """Notes the faults of one cut, and prints them."""
        self.cuts += 1
        self.rebuilt += len(Guess)
        self.lost += len(faults)
        for text in faults:
            print(f"{moment}, {text}", file=sys.stderr)
