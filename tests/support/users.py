"""Commands as another user, for tests that run as root; they skip elsewhere."""

import os
import shutil
import subprocess
import sys

import pytest

OTHER_UID = 54321
"""A user without an entry in the passwd file, as containers with arbitrary uids have."""


def sightline_as_other(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`sightline` as a user who may read everything, owns nothing and has no HOME; `variables` are all it gets."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root and setpriv(1)")
    # The interpreter may lie below root's home; the right to read does not include the right to write.
    reader = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    command = [setpriv, f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}", "--clear-groups", *reader]
    command += [sys.executable, "-c", "from sightline_client.cli import main; main()", *arguments]
    environment = {"PATH": os.environ["PATH"], **variables}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, cwd="/")
    assert "Traceback" not in ran.stderr + ran.stdout
    return ran
