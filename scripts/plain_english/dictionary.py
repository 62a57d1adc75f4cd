"""The words that the project's texts avoid, each with the everyday word to use instead.

Rule: a pattern matches the private meaning and leaves the ordinary one alone, as far as the words next to it show which
one is meant ("look up", "in place", "stands for" and "there is no" are ordinary).
"""

import re
from dataclasses import dataclass

NEGATION = (
    r"no (?!longer\b|more\b|less\b|fewer\b|later\b|earlier\b|better\b|worse\b|larger\b|smaller\b|different\b)[a-z]"
)
CALLERS = r"(?:callers?|clients?|calls?|readers?|members?|peers?|who)"
OWNERS = r"(?:its|their|his|her|your|our|own|latest|last|same|other|library's|engine's|\w+s')"


@dataclass(frozen=True, slots=True)
class Jargon:
    """One entry: the name that reports use, the pattern, and the plain words for it."""

    name: str
    pattern: re.Pattern[str]
    instead: str


def jargon(name: str, pattern: str, instead: str) -> Jargon:
    """An entry whose pattern matches whole words in either case, and no part of a path, a name or a call."""
    return Jargon(name, re.compile(rf"(?<![\w./])(?:{pattern})\b(?![(=/]|\.\w)", re.IGNORECASE), instead)


DICTIONARY = (
    jargon("mend", r"mend(?:s|ed|ing)?", "restart, recover, repair"),
    jargon("give up", r"(?:give|gives|gave|given|giving) up", "mark unhealthy, stop, abandon"),
    jargon(
        "leave",
        rf"{CALLERS} (?:(?:who|that|has|have|had|is|are) )*(?:leaves?|left|leaving)(?! in\b)",
        "cancel, disconnect",
    ),
    jargon("hear", r"hears?|heard|hearing", "be notified, receive"),
    jargon("tell", r"(?:tell|tells|told|telling)(?! (?:\w+ ){0,2}apart)", "report, say, show, notify"),
    jargon("stand", r"(?:stands?|standing|stood)(?! for| alone|-alone)", "be (in), pause, freeze"),
    jargon("beside", r"beside", "next to, alongside, in addition to"),
    jargon("picture", r"pictures?", "image"),
    jargon("words", rf"{OWNERS} words|in words|without a word", "message, text"),
    jargon("look", r"(?:looks?|looked|looking)(?!-| up| like| alike| for)", "check, probe, sample, inspect"),
    jargon("door", r"doors?", "admission, entry"),
    jargon("company", r"company", "batch"),
    jargon(
        "place",
        r"(?<!in )(?<!in its )(?<!in their )(?<!take )(?<!takes )(?<!decimal )places?(?! in the flow| where)",
        "slot, position, folder",
    ),
    jargon("anew", r"anew", "again"),
    jargon("is no", rf"(?<!there )(?:is|are|was|were) {NEGATION}\w*", "is not a"),
    jargon("of its own", r"of (?:its|their|his|her|your|our|one's) own", "its own, separate"),
    jargon(
        "for people", r"(?<!label )(?<!look )(?<!looks )(?<!clothes )(?<!hands )for people(?! who)", "human-readable"
    ),
    jargon("what there is", r"what there is", "available"),
    jargon("whoever", r"whoever", "callers that, the user who"),
    jargon("nobody waits", r"nobody waits", "no caller waits for"),
    jargon("take back", r"(?:take|takes|took|taken|taking) (?:it |them )?back", "revert, return"),
    jargon("thing", r"things?", "the noun itself"),
)

QUESTION = re.compile(r"(?:what|who|whom|whose|where|when|how|which|whether|why)\b", re.IGNORECASE)
"""Opens a docstring that should begin with a noun phrase or a verb in the third person."""
