"""The Python examples of `docs/guide/client.md` run as they are written."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_lens import FakeLens, serving

DOCUMENT = Path(__file__).parents[2] / "docs" / "guide" / "client.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
PRINTED = ["2 objects", "chair", "", ""]
"""A part of the output of each example."""


@pytest.mark.parametrize(("example", "printed"), list(zip(EXAMPLES, PRINTED, strict=True)))
async def test_an_example_runs(example: str, printed: str, tmp_path: Path) -> None:
    (tmp_path / "room.jpg").write_bytes(b"photo")
    async with serving(FakeLens()) as target:
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
