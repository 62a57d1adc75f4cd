"""Hit rates of one server with all of its steps, and without some of them, from the same answers.

    python -m load_tests.steps --grocery DIR --catalog DIR [--printed-text] [--colours 0.1] [--callers 2]
                               [--answers FILE] [--set NAME=VALUE ...]

Each photo of queries.csv is searched once as a whole photo, for 100 products. The contributions of the reasons that a
step added are taken off, and the products are ranked again: so the steps are compared on the same similarities, in one
run. --colours is the weight of the colours, which the server itself compares at a weight that changes no rank.
--printed-text compares that as well, in a catalog that was built with the text of images. A photo that is refused as
one of people counts as a miss. With --answers the answers are kept in FILE, and a further run asks about the photos
that it lacks. Prints one JSON object: hit rates, and the milliseconds of each stage.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from load_tests.against import settings_of
from load_tests.hit_rates.answers import Asked, line_of, read_answers
from load_tests.hit_rates.tables import HITS
from load_tests.observe.machine import tree_cpu_s
from load_tests.quality import START_TIMEOUT_S, rows_of
from sightline_client.answers import Answer
from sightline_client.errors import DeadlineExceededError, OverloadedError
from sightline_client.events import Box, ReasonKind
from sightline_client.local_server import LocalServer
from sightline_client.options import ClientOptions
from sightline_client.sync import Client

MOST_PRODUCTS, DEADLINE_S, PAUSE_S = 100, 110.0, 1.0
PATIENCE_S = 900.0
"""A measurement is never urgent."""
WHOLE = Box(0, 0, 1, 1)
TINY = 0.001
"""The weight with which the server compares colours: the contributions are known, and the order stays."""
SERVER = {
    "SIGHTLINE_LOCAL_FEATURES__COLOUR_CONTRIBUTION": str(TINY),
    "SIGHTLINE_LOCAL_FEATURES__MIN_TIME_LEFT_S": "0",
}
READING = {"SIGHTLINE_PRINTED_TEXT__ENABLED": "true", "SIGHTLINE_PRINTED_TEXT__MIN_TIME_LEFT_S": "0"}
LOCAL, TEXT, COLOURS = ReasonKind.LOCAL_FEATURES, ReasonKind.PRINTED_TEXT, ReasonKind.COLOUR
STEPS: Mapping[str, frozenset[ReasonKind]] = {
    "similarity": frozenset(),
    "local features": frozenset({LOCAL}),
    "local features and colours": frozenset({LOCAL, COLOURS}),
}
"""The reasons that count in each way to rank, next to the similarity."""
READ_STEPS: Mapping[str, frozenset[ReasonKind]] = {
    "printed text": frozenset({TEXT}),
    "local features and printed text": frozenset({LOCAL, TEXT}),
    "local features, printed text and colours": frozenset({LOCAL, TEXT, COLOURS}),
}
"""Further ways where printed text is compared."""


def hit_rates(ranks: Sequence[int | None]) -> dict[str, float]:
    """The share of ranks up to 1, 5 and 10."""
    depths = (int(hit.removeprefix("hit@")) for hit in HITS)
    return {
        hit: round(sum(rank is not None and rank <= depth for rank in ranks) / len(ranks), 4)
        for hit, depth in zip(HITS, depths, strict=True)
    }


def report(
    asked: Sequence[Asked], colours: float, steps: Mapping[str, frozenset[ReasonKind]] = STEPS
) -> dict[str, dict[str, dict[str, float]]]:
    """The hit rates of each way to rank: of all photos, of those answered, and of each kind of product."""
    groups = {"all": asked, "answered": [each for each in asked if not each.refused]}
    groups |= {kind: [each for each in asked if each.kind == kind] for kind in sorted({each.kind for each in asked})}
    found = {}
    for step, counted in steps.items():
        weights = {kind: colours / TINY if kind is COLOURS else 1.0 for kind in counted}
        found[step] = {name: hit_rates([each.rank(weights) for each in group]) for name, group in groups.items()}
    return found


def stage_times(asked: Sequence[Asked]) -> dict[str, float]:
    """The median milliseconds of each stage over the photos that were searched, without stages that took none."""
    searched = [each.times for each in asked if each.times and not each.refused]
    medians = {name: statistics.median(times[name] for times in searched) for name in (searched or [{}])[0]}
    return {name: round(median, 1) for name, median in medians.items() if median}


def found_in(client: Client, photo: bytes) -> Answer:
    """The answer to a photo, which is asked again where a busy machine has no time for it. Raises the last error."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return client.find(
                photo, regions=[WHOLE], max_products=MOST_PRODUCTS, min_similarity=0.0, timeout_s=DEADLINE_S
            )
        except (DeadlineExceededError, OverloadedError):
            if time.monotonic() > give_up:
                raise
            time.sleep(PAUSE_S)


@contextmanager
def asking(
    grocery: Path, catalog: Path, env: Mapping[str, str]
) -> Iterator[tuple[Callable[[Mapping[str, str]], Asked], Callable[[], float]]]:
    """A server of `catalog`; asks it about a row of queries.csv, and returns the CPU seconds that it has taken."""
    kinds = {row["id"]: row["product_type"].split(">")[0].strip() for row in rows_of(grocery / "feed.csv")}
    with (
        LocalServer(catalog=catalog, env=env, start_timeout_s=START_TIMEOUT_S) as server,
        Client(ClientOptions(server.target)) as client,
    ):

        def ask(row: Mapping[str, str]) -> Asked:
            product_id = row["product_id"]
            answer = found_in(client, (grocery / row["image"]).read_bytes())
            return Asked.of(row["image"], product_id, kinds[product_id], answer)

        yield ask, lambda: tree_cpu_s(server.pid)


def measured(given: argparse.Namespace) -> tuple[list[Asked], float | None]:
    """All answers, kept ones as well, and the CPU milliseconds of a call; None where all were kept."""
    asked = read_answers(given.answers) if given.answers else []
    kept = {each.image for each in asked}
    rows = [row for row in rows_of(given.grocery / "queries.csv") if row["image"] not in kept]
    if not rows:
        return asked, None
    env = {**SERVER, **(READING if given.printed_text else {}), **settings_of(given.settings)}
    with (
        asking(given.grocery, given.catalog, env) as (ask, cpu_s),
        ThreadPoolExecutor(given.callers) as pool,
        open(given.answers or os.devnull, "w", encoding="utf-8") as file,
    ):
        file.writelines(map(line_of, asked))  # without a line that was cut off
        begun = cpu_s()
        for each in pool.map(ask, rows):
            asked.append(each)
            file.write(line_of(each))
            file.flush()
        return asked, 1e3 * (cpu_s() - begun) / len(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.steps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grocery", type=Path, required=True, help="folder with feed.csv, queries.csv and images")
    parser.add_argument("--catalog", type=Path, required=True, help="catalog of it, with local features")
    parser.add_argument("--printed-text", action="store_true", help="compare printed text as well")
    parser.add_argument("--colours", type=float, default=0.1, help="weight of the colours")
    parser.add_argument("--callers", type=int, default=2, help="calls at once")
    parser.add_argument("--answers", type=Path, help="file in which the answers are kept, one JSON object a line")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="a variable")
    given = parser.parse_args(arguments)
    asked, cpu_ms = measured(given)
    facts = {
        "photos": len(asked),
        "refused": sum(each.refused for each in asked),
        "skipped": sum(bool(each.skipped) for each in asked),
        "cpu_ms": cpu_ms and round(cpu_ms, 1),
        "p50_ms": stage_times(asked),
    }
    steps = {**STEPS, **READ_STEPS} if given.printed_text else STEPS
    print(json.dumps({**facts, "hits": report(asked, given.colours, steps)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
