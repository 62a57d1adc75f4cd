"""The settings of imports and exports that callers of the catalog listener start."""

from pathlib import Path

from sightline_server.settings.part import Part, Positive


class TransferSettings(Part):
    """Imports and exports of catalogs that callers start."""

    import_folder: Path | None = None
    """Folder of feeds that callers may import, with the images that they name by relative links; if unset, none."""
    export_folder: Path | None = None
    """Folder to which callers may export catalogs; if unset, they cannot."""
    web: bool = True
    """Allows imports of feeds from http(s) addresses. Only public addresses are asked, as for images."""
    max_running: Positive = 2
    """Imports and exports that may run at the same time."""
