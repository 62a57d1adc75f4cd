"""A replica against a dictionary, after random writes, checkpoints, rollbacks and restarts of both sides.

After each step of a replica that finds everything its content is that of the last publication; and at no time does it
have anything but the content of a publication.
"""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sightline_server.catalog.store import CatalogStore
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.replication.publisher import Publisher
from tests.support.catalogs import row, unit_vectors
from tests.support.effort import examples
from tests.support.followed import Followed, following
from tests.support.replicas import Site

IDS = st.sampled_from([f"p{number}" for number in range(8)])
TITLES = st.sampled_from(["red", "green", "blue"])


class ReplicaMachine(RuleBasedStateMachine):
    """A writer, its publisher and a replica."""

    @initialize()
    def build(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="sightline-replica-"))
        self.site = Site(self.folder)
        self.site.build(3)
        self.model = {f"p{n}": "" for n in range(3)}
        self.at_revision: dict[int, dict[str, str]] = {}
        self.begin_writer()
        self.site.publish()
        self.site.follow()
        self.published = self.served = dict(self.model)
        self.begin_replica()

    def begin_writer(self) -> None:
        store = CatalogStore(self.site.shop, pause=lambda: self.site.publisher.keep_operations())
        self.living = LivingCatalog(self.site.shop, store=store)
        self.living.__enter__()
        self.note_revision()

    def note_revision(self) -> None:
        self.at_revision[self.living.store.current_revision.number] = dict(self.model)

    def begin_replica(self) -> None:
        self.ends = AsyncExitStack()
        self.followed: Followed = self.run(self.ends.enter_async_context(following(self.site)))

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "followed"):
            self.run(self.ends.aclose())
            self.living.__exit__(None, None, None)
            self.runner.close()
            shutil.rmtree(self.folder)

    @rule(keys=st.lists(IDS, min_size=1, max_size=4, unique=True), title=TITLES, images=st.integers(1, 2))
    def upsert(self, keys: list[str], title: str, images: int) -> None:
        self.living.upsert([row(key, unit_vectors(images, ord(key[1])), title=title) for key in keys])
        self.model |= dict.fromkeys(keys, title)

    @rule(key=IDS, title=TITLES)
    def update(self, key: str, title: str) -> None:
        self.living.update([ProductUpdate(key, {"title": title})])
        if key in self.model:
            self.model[key] = title

    @precondition(lambda self: len(self.model) > 4)
    @rule(keys=st.lists(IDS, min_size=1, max_size=3))
    def delete(self, keys: list[str]) -> None:
        self.living.delete(keys)
        self.model = {key: title for key, title in self.model.items() if key not in keys}

    @rule()
    def checkpoint(self) -> None:
        self.living.checkpoint()
        self.note_revision()

    @rule()
    def compact(self) -> None:
        self.living.compact(keep=20)
        self.note_revision()

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        kept = [each.number for each in self.living.store.revisions if each.base_version is not None]
        target = data.draw(st.sampled_from(sorted(kept)))
        if target not in self.at_revision:
            return
        current = self.living.store.current_revision.number
        if self.living.store.pending:
            self.at_revision[current + 1] = dict(self.model)
        self.living.store.rollback(target)
        self.model = dict(self.at_revision[target])
        self.note_revision()

    @rule()
    def publish(self) -> None:
        self.site.publish()
        self.published = dict(self.model)

    @rule()
    def restart_publisher(self) -> None:
        self.site.publisher = Publisher(self.site.shop, self.site.share, unused_s=0.0)

    @rule()
    def restart_writer(self) -> None:
        self.living.__exit__(None, None, None)
        self.begin_writer()

    @rule()
    def follow(self) -> None:
        self.run(self.followed.check())
        self.served = dict(self.published)

    @rule()
    def take_operations_alone(self) -> None:
        """The revision of the publication may be another one, which is not there yet."""
        self.run(self.followed.check_operations())
        found = self.run(self.followed.content())
        assert found in (self.served, self.published)
        self.served = found

    @rule()
    def restart_replica(self) -> None:
        self.run(self.ends.aclose())
        self.begin_replica()
        found = self.run(self.followed.content())
        assert found in (self.served, self.published)
        self.served = found

    @invariant()
    def the_replica_has_what_it_was_given(self) -> None:
        if hasattr(self, "followed"):
            assert self.run(self.followed.content()) == self.served


TestReplica = ReplicaMachine.TestCase
TestReplica.settings = settings(
    max_examples=examples(12),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
