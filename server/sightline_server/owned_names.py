"""Names of what a process owns in folders that it shares with others: `sightline-PID-START-...`.

The start time is in them, so that a reused process number is not taken for a living owner. Rule: standard library only,
because programs that are run by file and start in a few milliseconds load this module.
"""

from sightline_server.process_identity import ProcessIdentity, own_identity

PREFIX = "sightline-"


def prefix_of(process: ProcessIdentity) -> str:
    """The prefix of the names of all that this process owns."""
    return f"{PREFIX}{process}-"


def own_prefix() -> str:
    """The prefix of this process."""
    return prefix_of(own_identity())


def owner_lives(name: str) -> bool:
    """Returns whether the process that a name carries is still the one that made it."""
    owner = ProcessIdentity.parse(name.removeprefix(PREFIX))
    return owner is not None and name.startswith(prefix_of(owner)) and owner.lives
