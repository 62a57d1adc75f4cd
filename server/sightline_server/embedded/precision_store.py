"""The findings of the gate of bf16 as a file: `HOME/precision.json`.

Rule: a finding counts for one model file, one engine and one CPU. Anything else is compared again; a file that cannot
be read or written costs only that.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sightline_server.embedded.installation import Installation, read_stamp
from sightline_server.embedded.precision import Comparison, cpu_fact

log = logging.getLogger("sightline.engine")
FILE = "precision.json"
LIMITS = 1
"""Number of the limits of the comparison; another one makes every finding void."""


def surroundings(installation: Installation) -> str:
    """A digest of what findings depend on besides the model: engine, CPU, limits."""
    stamp = read_stamp(installation.root)
    facts = [LIMITS, asdict(stamp) if stamp else {}, cpu_fact("model name"), cpu_fact("flags")]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_findings(home: Path, installation: Installation) -> Mapping[str, Comparison]:
    """SHA-256 of a model file -> its comparison on this CPU with this engine."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        stored = json.loads((home / FILE).read_text())
        if stored["surroundings"] == surroundings(installation):
            return {each["sha256"]: Comparison(**each) for each in stored["findings"]}
    return {}


def write_findings(home: Path, installation: Installation, findings: Iterable[Comparison]) -> None:
    """Replaces the file, by temporary name and rename. Where that is not allowed the next start compares again."""
    facts = {"surroundings": surroundings(installation), "findings": [asdict(each) for each in findings]}
    partial = home / f"{FILE}.partial-{os.getpid()}"
    try:
        partial.write_text(json.dumps(facts, indent=1) + "\n")
        partial.replace(home / FILE)
    except OSError as error:
        log.info("engine: findings about bf16 are not kept: %s: %s", home / FILE, error.strerror)
        with suppress(OSError):
            partial.unlink(missing_ok=True)
