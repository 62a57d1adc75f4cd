"""The settings of the audit log."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sightline_server.settings.part import Part, Positive


class AuditSettings(Part):
    """The log of who asked for what, off without a folder; see docs/operate/audit.md."""

    folder: Path | None = None
    """Folder of the audit log. A call is answered when its record is on this disk. If unset, there is no audit log."""
    key_file: Path | None = None
    """File with the first key, 64 hexadecimal digits, read at the first start only. If unset, that start makes one in
    `folder`, as `first.key`."""
    file_mib: Positive = 64
    """Size in MiB after which the log goes on in a new file; it does so with each day (UTC), too."""
    keep_days: Annotated[int | None, Field(ge=1)] = None
    """Days after which files are removed; the log says that they were. If unset, none is removed."""
    on_failure: Literal["refuse", "allow"] = "refuse"
    """Calls whose record cannot be written, such as on a full disk: `refuse` (UNAVAILABLE) or `allow`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.key_file is not None and self.folder is None:
            raise ValueError("key_file needs folder, which says where the audit log is")
        return self
