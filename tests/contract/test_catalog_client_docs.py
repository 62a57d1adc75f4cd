"""The Python examples of `docs/guide/catalog-client.md` run as they are written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.v1 import catalog_service_pb2 as pb
from tests.support.fake_catalog import FakeCatalog, revision, serving_in_thread, stored

DOCUMENT = Path(__file__).parents[2] / "docs" / "guide" / "catalog-client.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
PRINTED = [
    "chair-1 written\nno-image images must have at least one image\n",
    "p0 changed\np0 Chair 79.00 EUR\np1 Chair None\n2-0123456789ab\n",
]
"""The output of each example."""


@pytest.mark.parametrize(("example", "printed"), list(zip(EXAMPLES, PRINTED, strict=True)))
def test_an_example_of_the_catalog_client_runs(example: str, printed: str, tmp_path: Path) -> None:
    (tmp_path / "chair.jpg").write_bytes(b"image")
    fake = FakeCatalog(
        products={f"p{number}": stored(f"p{number}", title="Chair") for number in range(2)},
        revisions=[revision(1, pb.REVISION_KIND_BUILD, 2)],
    )
    with serving_in_thread(fake) as target:
        ran = subprocess.run(
            [sys.executable, "-c", example.replace("127.0.0.1:50052", target)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == printed
