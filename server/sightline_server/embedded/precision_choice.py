"""Decides which models of an engine run in bf16, by stored findings where there are any.

Rule: a decision holds for the life of a server. An engine that is restarted runs its models as before, because answers
must not change under a catalog.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from sightline_models.embedders import FOLDER
from sightline_models.sources import sha256_of
from sightline_models.store import served_path
from sightline_server.embedded.installation import Installation
from sightline_server.embedded.precision import (
    Comparison,
    Precision,
    Precisions,
    cpu_has_bf16,
    decided,
    obstacle,
    refuse,
)
from sightline_server.embedded.precision_gate import compare
from sightline_server.embedded.precision_store import read_findings, write_findings

log = logging.getLogger("sightline.engine")
TOO_LONG = "the comparison took too long"


def choose(
    asked: Precision,
    installation: Installation,
    home: Path,
    repository: Path,
    models: Iterable[str],
    report: Callable[[str], None] = log.info,
) -> Precisions:
    """The precisions of `models`; those that are neither a detector nor an embedder keep float32.

    Compares what has no stored finding, stores what it finds in `home`, and reports a line for each. Blocks for some
    seconds then. Raises CONFIGURATION where `bf16` was asked for and cannot be had.
    """
    if reason := obstacle(asked, installation, cpu_fits=cpu_has_bf16()):
        if asked is Precision.BF16:
            refuse(reason)
        return Precisions(reason=reason)
    stored = dict(read_findings(home, installation))
    comparisons: dict[str, Comparison] = {}
    for model in filter(comparable, models):
        digest = sha256_of(served_path(repository, model))
        if known := stored.get(digest):
            comparisons[model] = known
            continue
        comparisons[model] = compared(installation, repository, model, digest)
        report(f"engine: {comparisons[model].line()}")
    # What took too long says nothing about the model: the next start compares it again.
    findings = {each.sha256: each for each in comparisons.values() if each.finding != TOO_LONG}
    if findings.keys() - stored.keys():
        write_findings(home, installation, (stored | findings).values())
    return decided(asked, comparisons)


def compared(installation: Installation, repository: Path, model: str, digest: str) -> Comparison:
    """The comparison of a model; one that does not pass where it takes too long."""
    try:
        return compare(installation, repository, model)
    except TimeoutError:
        return Comparison(model, digest, False, False, TOO_LONG)


def comparable(model: str) -> bool:
    """Returns whether the gate knows what the answers of a model mean."""
    return model in ("detector", "embedder") or FOLDER.fullmatch(model) is not None
