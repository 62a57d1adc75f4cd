"""The inputs and the options of a build, and what they mean next to a catalog that is replaced."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from sightline_server.catalog.originals_file import FEATURE_FILES, keeps_originals
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.ingest import guard
from sightline_server.ingest.building.replaced import facts_at
from sightline_server.ingest.clients import Requests
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.image_cache import CacheLimits
from sightline_server.ingest.images import ImageLimits
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.processes.process import ProcessLimits


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The inputs and the options of a build.

    Relative links lie below `images`, or below the feed's folder without it. `max_lost` and `max_shrink` are shares
    (0 to 1) that a catalog may lose when it is replaced; a `max_lost` that is given also holds for a first build.
    `cache` is the folder of the download cache; none is kept without it. Images are fetched from public hosts only,
    unless `allow_private_images` is set. `keep_originals` makes a built catalog keep the original files of its
    images, or not; None means what the catalog that is replaced does.
    So does `local_features` for the local features of the images, which are also kept where the embedder's
    configuration says so, and `views` for the number of views of each image; without a catalog that is replaced it is
    `default_views`.
    """

    feed: Path | OpenFeed
    out: Path
    decode: DecodeLimits
    images: Path | None = None
    feed_options: FeedOptions = field(default_factory=FeedOptions)
    strict: bool = False
    replace: bool = False
    image_limits: ImageLimits = field(default_factory=ImageLimits)
    decode_threads: int = 2
    decode_processes: ProcessLimits = field(default_factory=ProcessLimits)
    max_lost: float | None = None
    max_shrink: float = guard.MAX_SHRINK
    requests: Requests = field(default_factory=Requests)
    cache: Path | None = None
    cache_limits: CacheLimits = field(default_factory=CacheLimits)
    allow_private_images: bool = False
    keep_originals: bool | None = None
    local_features: bool | None = None
    views: int | None = None
    default_views: int = ONE_VIEW

    @property
    def keeps_originals(self) -> bool:
        """True where the catalog keeps the original files of its images."""
        kept = self.keep_originals
        return self.replace and keeps_originals(self.out) if kept is None else kept

    def for_embedder(self, embedder: EmbedderSpec) -> "BuildOptions":
        """These options, with local features where the configuration of `embedder` says so and no option does."""
        if self.local_features is not None:
            return self
        return replace(self, local_features=self.keeps_features or embedder.search.local_features)

    @property
    def keeps_features(self) -> bool:
        """True where the catalog keeps the local features of its images."""
        kept = self.local_features
        return self.replace and keeps_originals(self.out, FEATURE_FILES) if kept is None else kept

    @property
    def image_views(self) -> int:
        """The views of each image of the catalog that is built."""
        if self.views is not None:
            return self.views
        replaced = facts_at(self.out) if self.replace else None
        return self.default_views if replaced is None else replaced.views
