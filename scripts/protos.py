"""Generates the Python contract from `protos/sightline/v1` into `protos/python`; the only way it is made.

`python scripts/protos.py` writes; `--check` writes elsewhere, compares and exits 1 when the committed code is stale.
`--lint` runs `buf lint` on what protoc read, because buf does not find the imports that pip installed.
"""

import argparse
import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.rpc import status_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = PROTOS / "python"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"
COMMON = Path(status_pb2.__file__).parent.parent.parent
"""The folder of the protos of googleapis-common-protos, as pip installed them."""
HAND_WRITTEN = {"py.typed", "__init__.py"}


def protoc_on_all(*options: str) -> None:
    """Runs protoc on every `.proto` below `PROTOS`."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("sightline/**/*.proto"))
    # The package has this file under another name than its own descriptor states, which is that of other languages.
    operations = f"-Igoogle/longrunning/operations.proto={COMMON}/google/longrunning/operations_proto.proto"
    if protoc.main(["protoc", operations, f"-I{PROTOS}", f"-I{WELL_KNOWN}", f"-I{COMMON}", *options, *sources]) != 0:
        sys.exit("protoc failed")


def generate(target: Path) -> None:
    """Writes messages, stubs and their types for every `.proto` below `PROTOS` into `target`."""
    protoc_on_all(
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}",
        f"--mypy_grpc_out=quiet:{target}",
    )
    for path in target.rglob("*_pb2_grpc.py"):
        # A proto without a service gives a module of nothing but imports.
        if "class " not in path.read_text():
            path.unlink()
            path.with_suffix(".pyi").unlink(missing_ok=True)


def generated(folder: Path) -> set[Path]:
    """Generated files below `folder`, relative to it."""
    return {
        path.relative_to(folder)
        for path in folder.rglob("*.py*")
        if path.suffix in {".py", ".pyi"} and path.name not in HAND_WRITTEN
    }


def check() -> int:
    """Compares a fresh generation with the committed one; returns the exit code."""
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        generate(fresh)
        expected, found = generated(fresh), generated(TARGET)
        stale = sorted(str(path) for path in expected ^ found)
        stale += sorted(
            str(path) for path in expected & found if not filecmp.cmp(fresh / path, TARGET / path, shallow=False)
        )
    if stale:
        print("generated code is stale, run `make protos`:", *stale, sep="\n  ", file=sys.stderr)
        return 1
    print("generated code is fresh")
    return 0


def lint() -> int:
    """Checks the contract by the rules of `buf.yaml`; returns the exit code."""
    with tempfile.TemporaryDirectory() as name:
        described = Path(name) / "contract.binpb"
        protoc_on_all("--include_imports", "--include_source_info", f"--descriptor_set_out={described}")
        buf = Path(sys.executable).parent / "buf"
        command = [str(buf), "lint", str(described), "--config", str(PROTOS / "buf.yaml"), "--path", "sightline"]
        return subprocess.run(command, check=False).returncode


def write() -> int:
    """Replaces the committed generation; returns the exit code."""
    for path in generated(TARGET):
        (TARGET / path).unlink()
    generate(TARGET)
    print(f"wrote {len(generated(TARGET))} files to {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--lint", action="store_true", help="check the contract by the rules of buf.yaml")
    options = parser.parse_args()
    if options.lint:
        sys.exit(lint())
    sys.exit(check() if options.check else write())
