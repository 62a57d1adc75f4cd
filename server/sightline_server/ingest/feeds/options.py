"""The options of a feed: what the file itself does not say, and the limits of reading it."""

from dataclasses import dataclass, field
from enum import Enum

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.feeds.currencies import CODES

MIB = 1024 * 1024


class PriceFormat(Enum):
    """The sign in front of the decimals, for amounts that can be read in two ways, such as `1.234`."""

    AUTO = "auto"
    POINT = "point"
    COMMA = "comma"


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """The bounds of one feed: bytes as downloaded or packed, bytes unpacked, and the ratio of the two.

    The ratio counts only beyond `free_unpacked_bytes`, because short repetitive feeds are packed well.
    """

    max_bytes: int = 4 * 1024 * MIB
    max_unpacked_bytes: int = 16 * 1024 * MIB
    max_unpack_ratio: int = 200
    free_unpacked_bytes: int = 64 * MIB
    timeout_s: float = 60.0
    """The longest pause of a download; `download_s` bounds all of it."""
    download_s: float = 3600.0
    max_redirects: int = 5

    def unpacked_limit(self, packed_bytes: int) -> int:
        """The most bytes that `packed_bytes` may unpack to."""
        return min(self.max_unpacked_bytes, max(self.free_unpacked_bytes, packed_bytes * self.max_unpack_ratio))


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """The options of reading a feed.

    `encoding` counts where no byte order mark is present; empty means UTF-8, or what an XML feed declares. `currency`
    is the ISO 4217 code of prices that have none. `headers` and `user_agent` are sent when the feed is a URL.
    `base_url` is what relative image links of a downloaded feed are relative to; empty leaves them as they are. Rows
    without an image are used only where `images_required` is False, as for changes of products that have theirs.
    """

    encoding: str = ""
    price_format: PriceFormat = PriceFormat.AUTO
    currency: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    user_agent: str = "sightline-catalog"
    base_url: str = ""
    limits: FeedLimits = field(default_factory=FeedLimits)
    images_required: bool = True


def checked_currency(code: str) -> str:
    """`code` in upper case; empty stays empty. Raises `SightlineError` where it is not an ISO 4217 code."""
    if code and code.upper() not in CODES:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{code!r} is not an ISO 4217 code such as EUR")
    return code.upper()
