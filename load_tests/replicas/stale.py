"""The case `stale`: one of two replicas that follow a writer loses sight of what is published, under load.

    publish -> both replicas serve it -> the first one's source goes away -> publish again -> the second one serves it,
    the first one's metric says how far behind it is -> the source is back -> the first one serves it too
Rule: no call is lost, whatever a source does. The writer's catalog is a copy.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from load_tests.generator import arrivals
from load_tests.generator.photos import Photos
from load_tests.generator.process import Generator
from load_tests.generator.tasks import Due
from load_tests.observe.scrapes import scrape
from load_tests.replicas.drill import WARM_UP_CALLS, Load
from load_tests.replicas.envoy import running
from load_tests.replicas.judging import OK, read_log
from sightline_server.index.catalog import open_catalog, read_identity
from sightline_server.index.living import LivingCatalog
from sightline_server.index.replication.publisher import Publisher

STALE = "stale"
IN_STEP = "sightline_replica_in_step_timestamp_seconds"
INFO = "sightline_catalog_info"
SERVED_WITHIN_S = 5.0
"""Seconds from the publication until a replica serves it: it checks every second, then copies, verifies and opens."""
BEHIND_S = 4.0
"""Seconds after which a replica counts as named here; the alert waits for a minute."""
BACK_WITHIN_S = 15.0
"""Seconds after the source is back: a replica whose attempts fail tries every 10 s."""


class FollowingReplica(Protocol):
    """A server process that follows."""

    target: str
    metrics_url: str


StartFollowing = Callable[[Path, Path], AbstractContextManager[FollowingReplica]]
"""Starts a replica that follows a folder with a copy in another one."""


@dataclass(frozen=True, slots=True)
class StaleVerdict:
    """The figures of the case in seconds, None for what did not happen in time, and whether its bounds hold."""

    case: str
    calls: int
    lost: int
    revision: str
    served_s: float | None
    """From the publication until the other replica served it."""
    named_s: float | None
    """From the publication until the metric named the stale replica, and no other."""
    back_s: float | None
    """From the return of the source until the stale replica served the revision too."""
    holds: bool

    @property
    def line(self) -> str:
        """One line for a reader."""
        return (
            f"{self.case}: {'holds' if self.holds else 'MISSED'}: {self.lost} lost of {self.calls} calls, revision "
            f"{self.revision} served by the other one after {seconds(self.served_s)}, the stale one named after "
            f"{seconds(self.named_s)}, in step {seconds(self.back_s)} after its source was back"
        )


def seconds(value: float | None) -> str:
    """A time for a reader."""
    return "never" if value is None else f"{value:.1f} s"


def drill_stale(binary: Path, start: StartFollowing, catalog: Path, photos: Photos, load: Load) -> StaleVerdict:
    """The verdict on the case. Raises what a server, Envoy or the generator raises when it does not start."""
    with tempfile.TemporaryDirectory(prefix="sightline-drill-") as name:
        folder = Path(name)
        shop, share = shutil.copytree(catalog, folder / "shop"), folder / "share"
        share.mkdir()
        with LivingCatalog(shop) as living:  # a catalog without a log gets one, and with it its revision
            living.checkpoint()
        publisher = Publisher(shop, share)
        publisher.step()
        sources = [folder / "source-0", folder / "source-1"]
        for source in sources:
            source.symlink_to(share)
        with ExitStack() as stack:
            replicas = [
                stack.enter_context(start(source, folder / f"copy-{number}")) for number, source in enumerate(sources)
            ]
            envoy = stack.enter_context(running(binary, [each.target for each in replicas], folder))
            generator = stack.enter_context(
                Generator(envoy.target, photos.requests, connections=4, deadline_s=load.deadline_s)
            )
            generator.open_loop(arrivals.constant(load.rate, WARM_UP_CALLS / load.rate))
            begun = time.time()
            instants = arrivals.constant(load.rate, load.seconds)
            generator.start([Due(at, place % len(photos.requests)) for place, at in enumerate(instants)])
            sources[0].unlink()
            revision = changed(shop)
            publisher.step()
            published_at = time.monotonic()
            stale, other = replicas
            served_s = within(SERVED_WITHIN_S, lambda: serves(other, revision), published_at)
            named_s = within(BEHIND_S * 3, lambda: behind(replicas) == [stale.target], published_at)
            still_old = not serves(stale, revision)
            sources[0].symlink_to(share)
            back_s = within(BACK_WITHIN_S, lambda: serves(stale, revision) and not behind(replicas), time.monotonic())
            generator.finish(load.seconds + load.deadline_s)
        calls = [call for call in read_log(envoy.log.read_text().splitlines()) if call.start >= begun]
    lost = sum(call.lost for call in calls)
    in_time = None not in (served_s, named_s, back_s)
    holds = in_time and still_old and not lost and any(call.status == OK for call in calls)
    return StaleVerdict(STALE, len(calls), lost, revision, served_s, named_s, back_s, holds)


def changed(shop: Path) -> str:
    """Removes one product of the catalog; returns the new revision."""
    first = open_catalog(shop).display["id"][0].as_py()
    with LivingCatalog(shop) as living:
        living.delete([first])
        living.checkpoint()
    return read_identity(shop)[0]


def within(limit_s: float, holds: Callable[[], bool], begun: float) -> float | None:
    """Seconds from `begun`, monotonic, until something holds; None where that takes longer."""
    while time.monotonic() - begun < limit_s:
        if holds():
            return time.monotonic() - begun
        time.sleep(0.1)
    return None


def serves(replica: FollowingReplica, revision: str) -> bool:
    """Returns whether the metrics of `replica` say that it serves `revision`."""
    return any(labels.get("revision") == revision and value == 1 for labels, value in samples(replica, INFO))


def behind(replicas: list[FollowingReplica]) -> list[str]:
    """The replicas that were in step longer ago than `BEHIND_S`, as the expression of the alert counts it."""
    return [each.target for each in replicas if any(time.time() - at > BEHIND_S for _, at in samples(each, IN_STEP))]


def samples(replica: FollowingReplica, name: str) -> list[tuple[dict[str, str], float]]:
    """The labels and values of a metric."""
    found = scrape(replica.metrics_url).samples.items()
    return [(dict(labels), value) for (called, labels), value in found if called == name]
