"""The figures of all turns, and the bounds on them. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load_tests.attacks.frame import Bound
from load_tests.catalog_churn.events import CHECKPOINT, MERGE
from load_tests.catalog_churn.turns import Turn

FOUND_S = 1.0
RATIO = 1.5
SLOWEST = 6
"""The number of slowest searches that are listed: they show how many of them a 99th percentile rests on."""
HARDEST = 12
"""The number of searches of a turn that are described one by one."""
FRESHNESS, COMMIT = "sightline_catalog_freshness_seconds", "sightline_catalog_commit_seconds"
CHECKS = "sightline_catalog_freshness_checks_total"
IMAGE_WAIT = "sightline_background_wait_seconds"


def quantile(seconds: Sequence[float] | NDArray[np.float64], percent: float) -> float:
    """A percentile of the answered calls, in seconds, interpolated between the two nearest ranks.

    Infinity without any. The 99th percentile of 360 calls is between their fourth and fifth slowest one, that of fewer
    than 100 next to the slowest one.
    """
    answered = np.asarray(seconds, np.float64)
    answered = answered[~np.isnan(answered)]
    return float(np.percentile(answered, percent)) if len(answered) else float("inf")


def milliseconds(seconds: Sequence[float] | NDArray[np.float64], percent: float) -> float | None:
    """As `quantile`, in milliseconds to one decimal; None without any."""
    return finite(1e3 * quantile(seconds, percent), 1)


def finite(value: float, digits: int = 4) -> float | None:
    """A rounded figure; None for one that JSON cannot hold, such as that of no calls."""
    return round(value, digits) if np.isfinite(value) else None


def of_turn(turn: Turn) -> dict[str, Any]:
    """The figures of one turn; milliseconds, but for those that name seconds."""
    whole = turn.seen.whole
    found = {
        "searches": len(turn.searches),
        "codes": turn.codes,
        "p50_ms": milliseconds(turn.searches, 50),
        "p99_ms": milliseconds(turn.searches, 99),
        "max_ms": milliseconds(turn.searches, 100),
        "stages_ms": whole.stage_shares(),
        "hardest": hardest(turn),
    }
    if not turn.ready.waits_s:
        return found
    return found | {
        "busy_searches": int(turn.busy.sum()),
        "busy_max_ms": milliseconds(turn.searches[turn.busy], 100),
        "written": len(turn.ready.waits_s),
        "ack_p50_ms": milliseconds(turn.ready.waits_s, 50),
        "ack_p99_ms": milliseconds(turn.ready.waits_s, 99),
        "embedded": len(turn.pictured.waits_s),
        "embedded_ack_p50_ms": milliseconds(turn.pictured.waits_s, 50),
        "embedded_ack_p99_ms": milliseconds(turn.pictured.waits_s, 99),
        "image_wait_mean_ms": round(1e3 * whole.mean(IMAGE_WAIT), 1),
        "commit_mean_ms": round(1e3 * whole.mean(COMMIT), 1),
        "merges": whole.grown(f"{MERGE}_count"),
        "merge_mean_s": round(whole.mean(MERGE), 2),
        "checkpoints": whole.grown(f"{CHECKPOINT}_count"),
        "checkpoint_mean_s": round(whole.mean(CHECKPOINT), 2),
        "found_max_s": finite(quantile(turn.finding.found_s, 100), 3),
    }


def hardest(turn: Turn) -> list[dict[str, Any]]:
    """Of a turn, the searches that were not answered and the slowest others, each with its moment in the turn.

    `late_ms` is how much later than due it was sent, `busy` whether it met a merge or a checkpoint.
    """
    order = np.argsort(np.nan_to_num(-turn.searches, nan=-np.inf), kind="stable")[:HARDEST]
    return [
        {
            "at_s": round(float(turn.at_s[place]), 1),
            "ms": finite(1e3 * float(turn.searches[place]), 1),
            "late_ms": round(1e3 * float(turn.late_s[place]), 1),
            "busy": bool(turn.busy[place]),
        }
        for place in order
    ]


def compared(idle: Sequence[Turn], churn: Sequence[Turn]) -> dict[str, Any]:
    """The searches of all turns of a kind together, on which the bounds are, and of them those during merges."""
    quiet, busy = pooled(idle), pooled(churn)
    return {"idle": of_searches(quiet), "churn": of_searches(busy), "during": of_searches(during(churn))}


def of_searches(seconds: NDArray[np.float64]) -> dict[str, Any]:
    """The number of searches, their percentiles in milliseconds, and the slowest ones."""
    answered = np.sort(seconds[~np.isnan(seconds)])[::-1]
    percentiles = {f"p{percent}_ms": milliseconds(seconds, percent) for percent in (50, 95, 99)}
    slowest = [round(1e3 * float(each), 1) for each in answered[:SLOWEST]]
    return {"searches": len(seconds), **percentiles, "slowest_ms": slowest}


def pooled(turns: Sequence[Turn]) -> NDArray[np.float64]:
    """The seconds of the searches of all turns."""
    return np.concatenate([turn.searches for turn in turns])


def during(turns: Sequence[Turn]) -> NDArray[np.float64]:
    """The seconds of those searches of which some part ran during a merge or a checkpoint."""
    return np.concatenate([turn.searches[turn.busy] for turn in turns])


def bounds(idle: Sequence[Turn], churn: Sequence[Turn], *, merging: bool = True) -> list[Bound]:
    """The bounds on all turns; each churn turn has a checkpoint and, where it is `merging`, a merge."""
    quiet, busy = pooled(idle), pooled(churn)
    idle_p99 = quantile(quiet, 99)
    findings = [turn.finding for turn in churn]
    found_s = [each for finding in findings for each in finding.found_s]
    errors = [error for turn in churn for writing in (turn.ready, turn.pictured) for error in writing.errors]
    return [
        Bound("s from acknowledged to found, p99 of the server's checks", freshness(churn), FOUND_S),
        Bound(f"s from acknowledged to found, p99 of {len(found_s)} searches", quantile(found_s, 99), FOUND_S),
        Bound("acknowledged and not found, or found as before", sum(each.missed + each.stale for each in findings), 0),
        Bound("the same by the server's checks", sum(not_found(turn) for turn in churn), 0),
        Bound("writes refused", len(errors), 0),
        Bound("searches not answered", int(np.isnan(quiet).sum() + np.isnan(busy).sum()), 0),
        Bound("search p99 under churn over idle", quantile(busy, 99) / idle_p99, RATIO),
        Bound("search p99 during merges and checkpoints over idle", quantile(during(churn), 99) / idle_p99, RATIO),
        Bound("churn turns without a checkpoint", without(churn, CHECKPOINT), 0),
        *([Bound("churn turns without a merge", without(churn, MERGE), 0)] if merging else []),
    ]


def freshness(turns: Sequence[Turn]) -> float:
    """The largest upper bound of the turns' 99th percentiles by the server's own checks; infinity without checks."""
    counted = [turn.seen.whole for turn in turns if turn.seen.whole.grown(f"{FRESHNESS}_count")]
    return max((each.quantile_bound(FRESHNESS, 0.99) for each in counted), default=float("inf"))


def not_found(turn: Turn) -> float:
    """Products that the server's own checks did not find."""
    return turn.seen.whole.grown(CHECKS, outcome="missed")


def without(turns: Sequence[Turn], histogram: str) -> int:
    """The number of turns in which a histogram has observed nothing."""
    return sum(not turn.seen.whole.grown(f"{histogram}_count") for turn in turns)
