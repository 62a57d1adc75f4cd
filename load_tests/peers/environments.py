"""An environment for each peer, made once: `python -m load_tests.peers.environments`.

Rule: exactly what its requirements.txt says; another text makes it again. Sightline's own environment is not touched.
"""

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

from load_tests.peers.peers import PEERS, Peer
from sightline_models.places import default_home

STAMP = ".requirements"


def home() -> Path:
    """The folder of the environments."""
    return default_home() / "peers"


def prepare(peer: Peer) -> Path:
    """The peer's environment; made, which needs the package index, when it is not there or not as required."""
    folder = home() / peer.folder
    wanted = hashlib.sha256(peer.requirements.read_bytes()).hexdigest()
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    print(f"{peer.name}: making its environment", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-deps"]
    subprocess.run([*pip, "--requirement", str(peer.requirements)], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return folder


def versions(peer: Peer, environment: Path) -> dict[str, str]:
    """The versions in an environment that matter to the figures."""
    (packages,) = environment.glob("lib/python3*/site-packages")
    found: dict[str, Distribution] = {one.metadata["name"].lower(): one for one in distributions(path=[str(packages)])}
    names = (peer.package, "onnxruntime", "faiss-cpu", "numpy", "opencv-python-headless")
    return {name: found[name].version for name in names if name in found}


def main() -> int:
    """Makes all of them."""
    for peer in PEERS:
        print(prepare(peer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
