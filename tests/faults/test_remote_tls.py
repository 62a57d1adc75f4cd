"""A server with workers on a Triton elsewhere over mutual TLS, and a Triton whose certificate is suddenly another's."""

import time
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.remote_triton import remote_triton
from tests.support.rest import at_rest, good_answer, seen
from tests.support.small_shop import SmallShop, serving

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
WITHIN_S = 60.0


async def test_workers_serve_over_mutual_tls_and_come_back_when_the_certificate_is_right_again(
    shop: SmallShop, tmp_path: Path
) -> None:
    (tmp_path / "stranger").mkdir()
    authority, stranger = Authority(tmp_path), Authority(tmp_path / "stranger")
    cert, key = authority.client_files(tmp_path)
    tls = {"CA": str(authority.root), "CERT": str(cert), "KEY": str(key), "NAME": "localhost"}
    variables = {f"SIGHTLINE_ENGINE__TRITON_TLS_{name}": value for name, value in tls.items()}
    with remote_triton(shop.repository, *mutual(authority, authority)) as triton:
        variables |= {"SIGHTLINE_ENGINE__TRITON_URL": triton.url, "SIGHTLINE_SERVER__WORKERS": "2"}
        with serving(shop, tmp_path / "log", **variables) as server:
            await good_answer(server)
            triton.end()
            triton.options = mutual(stranger, authority)
            triton.start()
            wait_for(tmp_path / "log", "its certificate cannot be verified")
            assert seen(server).ready == 0
            triton.end()
            triton.options = mutual(authority, authority)
            triton.start()
            await at_rest(server)
            await good_answer(server)


def mutual(shown: Authority, asked: Authority) -> tuple[str, ...]:
    """The options of a Triton that shows a certificate of `shown` and asks for one of `asked`."""
    files = f"--grpc-server-cert={shown.cert}", f"--grpc-server-key={shown.key}", f"--grpc-root-cert={asked.root}"
    return "--grpc-use-ssl-mutual=true", *files


def wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)
