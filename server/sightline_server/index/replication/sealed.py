"""The first line of each file that is published, which is the same in every format.

    MAGIC FORMAT <SHA-256 of the rest>
Rule: a file that is not whole is never taken for one of another version of Sightline.
"""

import hashlib
import re

from sightline_server.index.replication.reasons import NotFollowedError, Reason


def sealed(magic: str, version: int, body: bytes) -> bytes:
    """The file with `body` in format `version` of the kind that `magic` names."""
    return f"{magic} {version} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def unsealed(magic: str, version: int, data: bytes, what: str) -> bytes:
    """The reverse of `sealed`; `what` names the content in messages, as "the revision was".

    Raises `NotFollowedError`: INCOMPLETE for a part of a file, FORMAT for one in another format.
    """
    first = re.match(rb"%s ([0-9]{1,9}) ([0-9a-f]{64})\n" % re.escape(magic.encode()), data)
    if first is None or hashlib.sha256(data[first.end() :]).hexdigest() != first[2].decode():
        raise NotFollowedError(Reason.INCOMPLETE, f"the description of what was published is not complete ({magic})")
    if int(first[1]) != version:
        message = (
            f"{what} published in format {int(first[1])} and this version of Sightline reads {version}; "
            "run the same version of Sightline on the publisher and on its replicas"
        )
        raise NotFollowedError(Reason.FORMAT, message)
    return data[first.end() :]
