"""The Python examples of the guide's pages about searches run as they are written."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.v1 import lens_service_pb2
from sightline_client import grants
from tests.support.fake_lens import FakeLens, serving

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
PAGES = {"client.md": ["2 objects", "chair", "", ""], "look-closer.md": ["vase"], "tiers.md": ["", "Title of p1", "ey"]}
"""A part of the output of each example of a page."""


def examples(page: str) -> list[str]:
    """The Python examples of a page."""
    return re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text(encoding="utf-8"), re.DOTALL)


EXAMPLES = [
    (example, printed)
    for page, outputs in PAGES.items()
    for example, printed in zip(examples(page), outputs, strict=True)
]


@pytest.mark.parametrize(("example", "printed"), EXAMPLES)
async def test_an_example_runs(example: str, printed: str, tmp_path: Path) -> None:
    (tmp_path / "room.jpg").write_bytes(b"photo")
    grants.write_key(tmp_path / "consent-key.json", grants.new_key())
    embedder = lens_service_pb2.ServedEmbedder(id="embedder@1", dimension=4)
    catalog = lens_service_pb2.ServedCatalog(name="default", is_default=True, embedder=embedder)
    info = lens_service_pb2.GetServerInfoResponse(catalogs=[catalog])
    async with serving(FakeLens(info=info)) as target:
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", example.replace("127.0.0.1:50051", target)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert printed in ran.stdout
