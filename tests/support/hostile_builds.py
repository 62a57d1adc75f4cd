"""Builds catalogs of hostile feeds, one after the other in this process, and reports on each.

    python -m tests.support.hostile_builds OUT [--allow-private-images] FEED...

Prints one JSON object a line: the feed, the ids that were built, the problems, a refusal, or a traceback's last line,
the seconds, and the peak of this process's memory in MB so far. The address space is bounded, so that a fault does not
take the machine with it.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from sightline_server.errors import SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.ingest.build import BuildOptions, build_catalog
from sightline_server.ingest.feeds.source import opened_feed
from sightline_server.ingest.hosts import RetryLimits
from sightline_server.ingest.images import ImageLimits
from sightline_server.stages.decode import DecodeLimits
from tests.support.catalogs import BUILT, SPEC, shade_embed

ADDRESS_SPACE_BYTES = 12 * 1024**3
DECODE = DecodeLimits(20 * 1024 * 1024, 64_000_000, 2048)
IMAGES = ImageLimits(timeout_s=3.0, retry=RetryLimits(faults=1, refusals=1, patience_s=1.0))


def peak_mb() -> float:
    """The most memory that this program has had. `getrusage` would count that of the parent before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def report(feed: Path, out: Path, *, allow_private: bool) -> dict[str, object]:
    """The outcome of building one feed."""
    started = time.monotonic()
    found: dict[str, object] = {"feed": feed.name, "ids": [], "problems": [], "refusal": "", "crash": ""}
    try:
        with opened_feed(feed) as source:
            options = BuildOptions(source, out, DECODE, image_limits=IMAGES, allow_private_images=allow_private)
            built = asyncio.run(build_catalog(options, SPEC, shade_embed, BUILT))
        found["ids"] = open_catalog(out).display["id"].to_pylist()
        found["problems"] = [str(problem) for problem in built.problems]
    except SightlineError as error:
        found["refusal"] = error.message
    except BaseException as error:
        found["crash"] = repr(error)
    return found | {"seconds": round(time.monotonic() - started, 2), "peak_mb": round(peak_mb())}


def main() -> None:
    """Builds a catalog of each feed that the command line names."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    out, *arguments = sys.argv[1:]
    allow_private = "--allow-private-images" in arguments
    feeds = [Path(argument) for argument in arguments if not argument.startswith("--")]
    print(json.dumps({"feed": "", "peak_mb": round(peak_mb())}), flush=True)
    for number, feed in enumerate(feeds):
        print(json.dumps(report(feed, Path(out) / str(number), allow_private=allow_private)), flush=True)


if __name__ == "__main__":
    main()
