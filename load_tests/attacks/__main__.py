"""Attacks one's own server and reports which bounds it kept. One line an attack; exit code 1 when a bound is broken.

    python -m load_tests.attacks [NAME ...] [--catalog DIR] [--share 1.0]

Rule: everything is on 127.0.0.1, against a server that is started for the attack, bounded in count and in time.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from load_tests.attacks import decode, engine, fields, garbage, idle, ingest, memory, people, resets, scrapes, uploads
from load_tests.attacks.frame import Attack, Bound, Skipped, Target
from load_tests.generator.photos import ROOT
from sightline_client.local_server import LocalServer
from sightline_models.places import default_home

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        engine.ATTACK,
        decode.ATTACK,
        fields.ATTACK,
        idle.ATTACK,
        uploads.ATTACK,
        resets.ATTACK,
        garbage.ATTACK,
        ingest.ATTACK,
        memory.ATTACK,
        people.ATTACK,
        scrapes.ATTACK,
    )
}
PHOTO = ROOT / "examples" / "showroom" / "photos" / "desk-01.jpg"


def main() -> int:
    """Runs the attacks of the command line."""
    arguments = parse()
    kept = True
    with tempfile.TemporaryDirectory(prefix="sightline-attacks-") as folder:
        catalog = arguments.catalog or demo_catalog()
        for name in arguments.names or ATTACKS:
            try:
                bounds = attacked(ATTACKS[name], catalog, Path(folder) / f"{name}.log", arguments.share)
            except Skipped as reason:
                print(f"skip  {name}: {ATTACKS[name].about}: skipped: {reason}", flush=True)
                continue
            kept = report(ATTACKS[name], bounds) and kept
    return 0 if kept else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ATTACKS))
    parser.add_argument("--catalog", type=Path, help="what the server serves [default: the demo's]")
    parser.add_argument("--share", type=float, default=1.0, help="share of the full size of each attack")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in ATTACKS]:
        parser.error(f"unknown attack {unknown[0]}, known are {', '.join(ATTACKS)}")
    return arguments


def attacked(attack: Attack, catalog: Path, log: Path, share: float) -> list[Bound]:
    """The bounds that `attack` measured on a separate server."""
    with started(attack, catalog, log) as target:
        return asyncio.run(attack.run(target, share))


@contextmanager
def started(attack: Attack, catalog: Path, log: Path, prefix: Sequence[str] = ()) -> Iterator[Target]:
    """A server for `attack`, which the program `prefix` becomes."""
    with LocalServer(catalog=catalog, env=attack.environment, log=log, prefix=prefix) as server:
        another = partial(started, attack, catalog, log.with_suffix(".another"))
        yield Target(server.target, server.metrics_url, server.pid, log, PHOTO.read_bytes(), another)


def report(attack: Attack, bounds: list[Bound]) -> bool:
    """Prints the line of an attack; returns whether all its bounds were kept."""
    kept = all(bound.kept for bound in bounds)
    print(f"{'pass' if kept else 'FAIL'}  {attack.name}: {attack.about}: {'; '.join(map(str, bounds))}", flush=True)
    return kept


def demo_catalog() -> Path:
    """The demo's catalog, built when it is not there."""
    catalog = default_home() / "catalogs" / "showroom"
    if not catalog.exists():
        subprocess.run([str(Path(sys.executable).with_name("sightline")), "demo", "--catalog-only"], check=True)
    return catalog


if __name__ == "__main__":
    sys.exit(main())
