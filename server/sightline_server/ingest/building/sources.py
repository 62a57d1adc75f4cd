"""The sources of a build: the name of its feed, and where its images are read from."""

from collections.abc import Callable
from pathlib import Path

from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.image_cache import ImageCache
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.link_secrets import masked_link


def image_source(options: BuildOptions, root: Path | None, notify: Callable[[str], None]) -> ImageSource:
    """The source of the images of a build, whose relative links lie below `root`."""
    return ImageSource(
        root,
        options.image_limits,
        requests=options.requests,
        network=CheckedNetwork(HostCheck(allow_private=options.allow_private_images)),
        cache=ImageCache(options.cache, options.cache_limits, notify) if options.cache else None,
        notify=notify,
    )


def feed_name(feed: Path | OpenFeed) -> str:
    """The feed's name as messages show it."""
    return masked_link(feed.name)
