"""`python -m load_tests.sizing`: machines, bytes, GPUs and the cost of a photo, from measured figures.

Prints the tables of `docs/design/scale.md`; `--write` writes them there, `--check` exits 1 when the page is stale.
`--replicas N --measure --catalog DIR` predicts what N replicas on this machine do and compares it with a measured run:
exit 1 when they differ by more than 20 %, 3 when others used the machine. With `--shared-cores` each replica may use
all cores, and all of them together are predicted to do what one of them does.
"""

import argparse
import json
import sys
from pathlib import Path

from load_tests.generator.photos import SHOWROOM
from load_tests.sizing import replicas
from load_tests.sizing.assumed import Assumed
from load_tests.sizing.page import PAGE, with_tables
from load_tests.sizing.tables import PHOTOS_PER_S, PRODUCTS, all_tables

NOT_VALID = 3


def main() -> int:
    """Returns the exit code."""
    usual = Assumed()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=float, nargs="+", default=PRODUCTS, help="products of the catalogs")
    parser.add_argument("--photos", type=float, nargs="+", default=PHOTOS_PER_S, help="photos a second")
    parser.add_argument("--dimension", type=int, default=usual.dimension, help="numbers of an embedding")
    parser.add_argument("--load", type=float, default=usual.load, help="share of its most that a machine is given")
    parser.add_argument("--spare", type=int, default=usual.spare, help="machines beyond what the load needs")
    parser.add_argument("--memory", type=float, default=usual.memory, help="share of GPU memory that is planned for")
    parser.add_argument("--search-ms", type=float, default=usual.search_ms, help="longest search in a search tier")
    parser.add_argument("--usd", type=float, default=usual.machine_usd_per_hour, help="price of a machine for an hour")
    parser.add_argument("--write", action="store_true", help="write the page")
    parser.add_argument("--check", action="store_true", help="exit 1 when the page is stale")
    parser.add_argument("--replicas", type=int, default=2, help="replicas of --measure")
    parser.add_argument("--measure", action="store_true", help="compare a prediction with a measured run")
    parser.add_argument(
        "--shared-cores", action="store_true", help="replicas of --measure use all cores, and do together what one does"
    )
    parser.add_argument("--catalog", type=Path, help="catalog that --measure serves")
    parser.add_argument("--photos-from", type=Path, default=SHOWROOM, help="folder of JPEG photos for --measure")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each reading of --measure")
    parser.add_argument("--turns", type=int, default=3, help="readings of each kind of --measure")
    options = parser.parse_args()
    if options.measure:
        if options.catalog is None:
            parser.error("--measure needs --catalog DIR")
        compared = replicas.compare(
            *(options.catalog, options.photos_from, options.replicas),
            turns=options.turns,
            seconds=options.seconds,
            shared=options.shared_cores,
        )
        print(json.dumps(compared.facts))
        if not compared.valid:
            return NOT_VALID
        return 0 if compared.holds else 1
    if options.write:
        PAGE.write_text(with_tables(PAGE.read_text()))
        return 0
    if options.check:
        if PAGE.read_text() != with_tables(PAGE.read_text()):
            sys.exit("docs/design/scale.md is stale, run `make docs`")
        return 0
    assumed = Assumed(options.dimension, options.load, options.spare, options.memory, options.search_ms, options.usd)
    print(all_tables(assumed, options.products, options.photos))
    return 0


if __name__ == "__main__":
    sys.exit(main())
