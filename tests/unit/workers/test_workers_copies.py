"""Copies of followed catalogs whose operations workers apply: those after which the workers must be replaced."""

from pathlib import Path

from sightline_server.app.following import Operations
from sightline_server.index.replication.replica import description_of
from sightline_server.workers.catalogs import CopyOfWorkers
from tests.support.replicas import Site


def taken(site: Site, copy: CopyOfWorkers) -> None:
    """The copy takes what is published."""
    site.follow()
    description = description_of(site.copy)
    assert description is not None
    copy.taken(description)


def followed(folder: Path) -> Site:
    site = Site(folder)
    site.build()
    site.change("first")
    site.publish()
    site.follow()
    return site


def test_revision_that_continues_the_one_before_is_not_outdated(tmp_path: Path) -> None:
    site = followed(tmp_path)
    copy: Operations = CopyOfWorkers(site.copy)
    assert isinstance(copy, CopyOfWorkers)
    site.change("second")
    site.publish()
    taken(site, copy)
    assert not copy.outdated
    assert copy.in_step


def test_same_revision_that_is_published_again_from_a_backup_is_outdated(tmp_path: Path) -> None:
    site = followed(tmp_path)
    copy, before = CopyOfWorkers(site.copy), site.revision
    for path in site.share.rglob("*"):
        if path.is_file():
            path.unlink()
    Site(site.folder).publish()
    taken(site, copy)
    assert site.revision == before
    assert copy.outdated
