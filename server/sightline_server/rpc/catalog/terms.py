"""The terms of a write from a request: its id, and a digest by which a repeated request is recognised.

Rule: the digest is of the content, not of the bytes on the wire, which differ between clients for equal content: a map
has no order.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from sightline_server.domain.writes import WriteTerms
from sightline_server.rpc.refusals import invalid

REQUEST_ID = re.compile(r"[\x21-\x7e]{0,128}")
MAX_ETAG_BYTES = 128


def check_request_id(text: str) -> None:
    """Raises `SightlineError` for a text that cannot be a request id."""
    if not REQUEST_ID.fullmatch(text):
        raise invalid("request_id", "expected up to 128 printable ASCII characters without blanks, such as a UUID")


def check_etag(field: str, etag: str) -> None:
    """Raises `SightlineError` for a text that is too long for an etag."""
    if len(etag.encode()) > MAX_ETAG_BYTES:
        raise invalid(field, f"an etag has at most {MAX_ETAG_BYTES} bytes")


def terms_of(method: str, content: Any, etags: Mapping[str, str], *, validate_only: bool) -> WriteTerms:
    """The terms of a request of `method` whose `content` is plain values."""
    text = json.dumps([method, content, dict(etags)], sort_keys=True, ensure_ascii=False, default=str)
    mark = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return WriteTerms({key: etag for key, etag in etags.items() if etag}, mark, validate_only)
