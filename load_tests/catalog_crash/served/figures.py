"""The figures of all rounds of a served catalog, and the promises that they show to be kept."""

import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from load_tests.catalog_crash.served.harm import Down, Harm
from load_tests.catalog_crash.served.states import Kind
from load_tests.catalog_crash.served.writers import Answers


@dataclass
class Result:
    """The outcome of all rounds. `lost` counts whatever was not as it had to be after a start; times are in seconds."""

    rounds: int = 0
    starts: int = 0
    acknowledged: int = 0
    acknowledged_images: int = 0
    sent_again: int = 0
    """Writes without an answer that were sent again after the next start."""
    lost: int = 0
    unclear: int = 0
    """Refusals that did not say when to try again."""
    not_stopped: int = 0
    """Servers that did not end as they had to."""
    engines_ended: int = 0
    not_back: int = 0
    """Engines that were not back in time."""
    written_while_down: int = 0
    """Ready embeddings that were acknowledged while the engine was down."""
    refused_while_down: int = 0
    """Ready embeddings that were refused then, which none may be."""
    images_refused: int = 0
    longest_pause_s: float = 0.0
    """Between two acknowledgements of ready embeddings while the engine was down."""
    longest_image_s: float = 0.0
    """Until the answer to a product with an image."""

    @property
    def kept(self) -> bool:
        """Returns whether all promises were kept."""
        broken = self.lost, self.unclear, self.not_stopped, self.not_back, self.refused_while_down
        return not any(broken) and (self.written_while_down > 0 or not self.engines_ended)

    def failed(self, faults: Sequence[str]) -> None:
        """Counts and prints what was not as it had to be."""
        self.lost += len(faults)
        for each in faults:
            print(each, file=sys.stderr)

    def server_ended(self, harm: Harm, code: int) -> None:
        """Notes the exit code of a server that was ended."""
        allowed = {Harm.TERM: (0,), Harm.TERM_KILL: (0, -signal.SIGKILL)}.get(harm, (-signal.SIGKILL,))
        if code not in allowed:
            self.not_stopped += 1
            print(f"{harm.value}: exit code {code}", file=sys.stderr)

    def engine_ended(self, down: Down, answers: Answers) -> None:
        """Notes what was written while the engine was down."""
        self.engines_ended += 1
        self.not_back += down.back is None
        ready = [each for each in answers.of(Kind.READY, since=down.since) if each.ended <= (down.back or math.inf)]
        written = [each.ended for each in ready if each.written]
        self.written_while_down += len(written)
        self.refused_while_down += len(ready) - len(written)
        pauses = [later - earlier for earlier, later in pairwise([down.since, *written, down.back or down.since])]
        self.longest_pause_s = round(max(self.longest_pause_s, *pauses), 3)

    def answered(self, answers: Answers) -> None:
        """Notes the answers of a round."""
        images = [each for each in answers.all if each.kind is Kind.IMAGE]
        self.acknowledged += sum(each.written for each in answers.all)
        self.acknowledged_images += sum(each.written for each in images)
        self.images_refused += sum(not each.written for each in images)
        longest = max((each.ended - each.began for each in images), default=0.0)
        self.longest_image_s = round(max(self.longest_image_s, longest), 3)
        self.unclear += len(answers.unclear)
        for text in answers.unclear:
            print(text, file=sys.stderr)
