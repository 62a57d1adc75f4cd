"""Hostile calls against a server with workers, access, consent and audit, while a good caller goes on.

    python -m load_tests.hostile [--calls 1000000] [--workers 2] [--catalog DIR]

Tokens, API keys, grants, methods, metadata, headers, bodies, frames of HTTP/2 and resets are mixed by a seed. Prints
progress and each bound on standard error, and one JSON object on the last line. Exit code 1 when a bound is broken.
Rule: the server is started for the run and listens on 127.0.0.1.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from load_tests.attacks.__main__ import demo_catalog
from load_tests.attacks.frame import PATIENT_SERVER, Target
from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.guarded.rights import Rights
from load_tests.hostile.judging import bounds, summary
from load_tests.hostile.running import Plan, run, say
from sightline_client.local_server import LocalServer

INTERRUPTED = 130


def main() -> int:
    """Runs the command line."""
    options = parse()
    plan = Plan(options.calls, options.processes, options.seed, options.quiet_s, options.good_per_s)
    photos = read_photos(options.photos).encoded
    with tempfile.TemporaryDirectory(prefix="sightline-hostile-") as folder:
        rights, log = Rights(Path(folder)), options.log or Path(folder) / "server.log"
        variables = {**PATIENT_SERVER, **rights.variables, "SIGHTLINE_SERVER__WORKERS": str(options.workers)}
        try:
            with LocalServer(catalog=options.catalog or demo_catalog(), env=variables, log=log) as server:
                target = Target(server.target, server.metrics_url, server.pid, log, photos[0])
                seen = run(target, rights, photos, plan)
        except KeyboardInterrupt:
            say("interrupted; the server and the attackers have ended")
            return INTERRUPTED
    found = bounds(seen)
    for bound in found:
        say(f"{'holds ' if bound.kept else 'BROKEN'} {bound}")
    print(json.dumps({"workers": options.workers, "seed": options.seed, **summary(seen, found)}))
    return 0 if all(bound.kept for bound in found) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000, help="hostile calls [default: 1000000]")
    parser.add_argument("--workers", type=int, default=2, help="workers of the server [default: 2]")
    parser.add_argument("--processes", type=int, default=2, help="processes that make the calls [default: 2]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mix [default: 0]")
    parser.add_argument("--catalog", type=Path, help="catalog to serve [default: the demo's]")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of the good caller's JPEG photos")
    parser.add_argument("--quiet-s", type=float, default=30.0, help="seconds without hostile calls [default: 30]")
    parser.add_argument("--good-per-s", type=float, default=2.0, help="searches of the good caller [default: 2]")
    parser.add_argument("--log", type=Path, help="file for the log of the server [default: removed at the end]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
