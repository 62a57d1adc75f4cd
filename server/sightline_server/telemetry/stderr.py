"""Standard error for our own log only.

Rule: what image libraries print about a file holds facts of the photo and can be thousands of lines, so it goes
nowhere: libjpeg, libpng and libtiff write to the descriptor, past every logger, and Pillow warns. Python's `sys.stderr`
and a crash report of `faulthandler` go where they went before.
"""

import faulthandler
import io
import os
import sys
import warnings

STDERR = 2


def close_to_libraries() -> None:
    """Leaves standard error to Python code. Call it once, before logging is configured.

    Child processes that inherit descriptor 2 inherit the silence, so a process that starts some must not call it.
    """
    sys.stderr.flush()
    kept = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = io.TextIOWrapper(
        open(kept, "wb", buffering=0),  # noqa: SIM115 (it stays open as long as the process)
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )
    faulthandler.enable(sys.stderr)
    warnings.filterwarnings("ignore", module=r"PIL\.")
