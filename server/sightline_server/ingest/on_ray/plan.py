"""Feed rows -> blocks of image links to embed.

Rule: each image is in one block, with those that a local build embeds together with it, so that both give the engine
equal batches. What a checkpoint has is left out.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

from sightline_server.ingest import seen_images
from sightline_server.ingest.feed_rows import FeedRow, Problem
from sightline_server.ingest.groups import GROUP_ROWS
from sightline_server.ingest.links import UnreadableImageError, classify
from sightline_server.ingest.preparation import key_of

BLOCK_GROUPS = 4
"""Groups of a block: what a worker that is killed has done in vain, and how often progress is reported."""


@dataclass(frozen=True, slots=True)
class LinkToEmbed:
    """An image's link as the feed has it, and the key by which `SeenImages` knows it."""

    key: bytes
    link: str


@dataclass(frozen=True, slots=True)
class Block:
    """Images for one worker, in groups that are embedded together; `rows` of the feed end with this block."""

    number: int
    rows: int
    groups: tuple[tuple[LinkToEmbed, ...], ...]

    def encode(self) -> bytes:
        """The block as bytes."""
        groups = [[[each.key.hex(), each.link] for each in group] for group in self.groups]
        return json.dumps([self.number, self.rows, groups]).encode()

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """The block that `encode` made bytes of."""
        number, rows, groups = json.loads(content)
        return cls(number, rows, tuple(tuple(LinkToEmbed(bytes.fromhex(key), link) for key, link in g) for g in groups))


class Plan:
    """The blocks of a feed, and counts that are complete when all of them were taken.

    `known` are the keys of images that are embedded already. Memory: about 100 bytes a link.
    """

    def __init__(self, rows: Iterator[FeedRow | Problem], known: Collection[bytes]) -> None:
        self._feed = rows
        self._known = known
        self._planned: set[bytes] = set()
        self.rows = 0
        self.kept = 0
        """Links whose images are embedded already."""

    def blocks(self) -> Iterator[Block]:
        """The blocks in the feed's order; none is empty."""
        groups: list[tuple[LinkToEmbed, ...]] = []
        number, first = 0, 0
        while rows := list(islice(self._feed, GROUP_ROWS)):
            # A warning is not a row: it follows the row that it is about.
            self.rows += sum(1 for row in rows if not isinstance(row, Problem) or row.skipped)
            groups += [group] if (group := tuple(self._new_links(rows))) else []
            if len(groups) == BLOCK_GROUPS:
                yield Block(number, self.rows - first, tuple(groups))
                number, first, groups = number + 1, self.rows, []
        if groups:
            yield Block(number, self.rows - first, tuple(groups))

    def _new_links(self, rows: list[FeedRow | Problem]) -> Iterator[LinkToEmbed]:
        """The links of a group that are in no earlier one, in the order in which a build embeds them."""
        for link in (link for row in rows if isinstance(row, FeedRow) for link in row.images):
            try:
                key = seen_images.key_of(key_of(classify(link)))
            except UnreadableImageError:
                continue
            if key in self._planned:
                continue
            self._planned.add(key)
            if key in self._known:
                self.kept += 1
            else:
                yield LinkToEmbed(key, link)
