"""Every command with wrong input, in this process: an exit code and a few lines that say what is wrong.

Only inputs that are refused before an engine or a server is started; what needs a separate process is in
`test_command_surroundings.py`.
"""

import logging
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sightline_client.cli.root import app
from sightline_console import entry
from sightline_server.cli import serve

MAX_LINES = 8
HOSTILE = "no\x1b]0;renamed\x07such\x9b31m\u202efile"


@dataclass(frozen=True)
class Case:
    """A command line with names of the folder below in braces, and what its message has to say."""

    command: str
    says: str
    code: int = 2
    env: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        variables = "".join(f"{name}={value} " for name, value in self.env.items())
        return f"{variables}{self.command}"


CASES = [
    Case("frobnicate", "No such command"),
    Case("--frobnicate", "No such option"),
    Case("search", "PHOTO"),
    Case("search {none}.jpg", "cannot read"),
    Case("search {folder}", "cannot read"),
    Case("search /dev/zero --target 127.0.0.1:1", "the limit is", 1),
    Case("search /proc/self/mem", "cannot read"),
    Case("search {long}", "cannot read"),
    Case("search {hostile}", "cannot read"),
    Case("search {garbage} {garbage}", "unexpected extra argument"),
    Case("search {garbage} --target 127.0.0.1:1", "UNAVAILABLE", 1),
    Case("search {empty} --target 127.0.0.1:1", "UNAVAILABLE", 1),
    Case("search {garbage} --target 127.0.0.1:99999", "not a number from 1 to 65535"),
    Case("search {garbage} --target http://127.0.0.1:1", "is a URL"),
    Case("search {garbage} --target {hostile}", "expected HOST:PORT"),
    Case("search {garbage} --target ", "the host is missing"),
    Case("search {garbage} --target ipv4:1.2.3.4.5:6 --insecure", "not an address", 1),
    Case("search {garbage} --target shop.example:50051", "--insecure"),
    Case("search {garbage} --target unix:{none}", "UNAVAILABLE", 1),
    Case("search {garbage} --timeout nan", "--timeout"),
    Case("search {garbage} --timeout 0", "--timeout"),
    Case("search {garbage} --timeout -1", "--timeout"),
    Case("search {garbage} --timeout soon", "--timeout"),
    Case("search {garbage} --max-objects abc", "--max-objects"),
    Case("search {garbage} --max-objects -1", "--max-objects"),
    Case("search {garbage} --max-products 1099511627776", "--max-products"),
    Case("search {garbage} --box 1,2", "x0,y0,x1,y1"),
    Case("search {garbage} --box 0,0,nan,1 --target 127.0.0.1:1", "regions[0].box.x_max", 1),
    Case("search {garbage} --tap {hostile}", "x,y"),
    Case("search {garbage} --tls-ca {none}", "cannot read", 1),
    Case("search {garbage} --tls-ca {folder}", "is a directory"),
    Case("search {garbage} --tls-ca {garbage}", "no CA certificate", 1),
    Case("search {garbage} --tls-cert {garbage}", "go together", 1),
    Case("search {garbage} --tls-cert {garbage} --tls-key {garbage}", "not a certificate", 1),
    Case("search {garbage} --catalog {surrogate} --target 127.0.0.1:1", "catalog must be text", 1),
    Case("eval", "QUERIES.csv"),
    Case("eval {none} --target 127.0.0.1:1", "cannot read"),
    Case("eval {folder} --target 127.0.0.1:1", "is a directory"),
    Case("eval {pipe} --target 127.0.0.1:1", "not a file"),
    Case("eval {empty} --target 127.0.0.1:1", "no column"),
    Case("eval {garbage} --target 127.0.0.1:1", "not UTF-8 or cp1252"),
    Case("eval {queries}", "--catalog"),
    Case("eval {queries} --target 127.0.0.1:1 --catalog {folder}", "--catalog"),
    Case("eval {queries} --target 127.0.0.1:0", "not a number from 1 to 65535"),
    Case("eval {queries} --target 127.0.0.1:1 --regions ears", "--regions"),
    Case("eval {queries} --target 127.0.0.1:1 --encoding klingon", "unknown encoding"),
    Case("eval {queries} --target 127.0.0.1:1 --in-flight 0", "--in-flight"),
    Case("eval {queries} --target 127.0.0.1:1 --max-objects 1099511627776", "--max-objects"),
    Case("eval {queries} --target 127.0.0.1:1", "images of"),
    Case("eval {good_queries} --target 127.0.0.1:1", "UNAVAILABLE", 1),
    Case("eval {good_queries} --catalog {none}", "no catalog at"),
    Case("eval {good_queries} --catalog {garbage}", "is a file"),
    Case("catalog frobnicate", "No such command"),
    Case("catalog build", "FEED"),
    Case("catalog build {feed}", "--out"),
    Case("catalog build {feed} --out {none} --config {none}", "no such settings file"),
    Case("catalog build {feed} --out {none} --config {folder}", "no such settings file"),
    Case("catalog build {feed} --out {none} --config {garbage}", "settings file"),
    Case("catalog build {feed} --out {none} --images {garbage}", "is a file"),
    Case("catalog build {none}.csv --out {none}", "no such feed"),
    Case("catalog info {damaged}", "is damaged"),
    Case("catalog ids {damaged}", "is damaged"),
    Case("eval {good_queries} --catalog {damaged}", "is damaged"),
    Case("catalog info {not_utf8}", "must be UTF-8"),
    Case("catalog info {surrogate}", "no catalog"),
    Case("serve --config {surrogate}", "no such settings file"),
    Case("models list --repository {surrogate}", "", 0),
    Case("eval {surrogate} --target 127.0.0.1:1", "cannot read"),
    Case("{surrogate}", "No such command"),
    Case("catalog info", "CATALOG"),
    Case("catalog info {none}", "no catalog"),
    Case("catalog info {folder}", "no catalog"),
    Case("catalog info {garbage}", ""),
    Case("catalog info {hostile}", "no catalog"),
    Case("catalog info {long}", "File name too long", 1),
    Case("catalog ids {none}", "no catalog"),
    Case("models", ""),
    Case("models frobnicate", "No such command"),
    Case("models list --repository {none}", "", 0),
    Case("models list --repository {garbage}", "", 0),
    Case("models list --repository {hostile}", "", 0),
    Case("models check --repository {folder}", "", 1),
    Case("models check --repository {models}", "", 1),
    Case("models pull --repository {folder} --home {garbage}", "Not a directory", 1),
    Case("engine frobnicate", "No such command"),
    Case("engine install --gpu=maybe", "--gpu"),
    Case("engine install --home {garbage}", "", 1),
    Case("engine install --home /dev/null/home", "", 1),
    Case("doctor --config {none}", "no such settings file"),
    Case("doctor --config {garbage}", "settings file"),
    Case("doctor", "limits.max_regions", env={"SIGHTLINE_LIMITS__MAX_REGIONS": "many"}),
    Case("doctor", "no group of settings", env={"SIGHTLINE_LIMIT__MAX_REGIONS": "3"}),
    Case("demo --showroom {none}", "--showroom"),
    Case("demo --showroom {folder}", "feed.csv"),
    Case("demo --showroom {garbage}", "is a file"),
    Case("demo --out {garbage}", "--out"),
    Case("demo --out /proc/nowhere", "--out"),
    Case("serve --config {none}", "no such settings file"),
    Case("serve --config {hostile}", "no such settings file"),
    Case("serve --config {folder}", "no such settings file"),
    Case("serve --config {garbage}", "settings file"),
    Case("serve --config {toml_broken}", "settings file"),
    Case("serve --config {toml_unknown}", "max_region"),
    Case("serve --config {toml_type}", "limits.max_regions"),
    Case("serve --workers 0", "server.workers"),
    Case("serve --workers many", "--workers"),
    Case("serve --tls-cert {none} --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0", "--tls"),
    Case("serve", "limits.max_regions", env={"SIGHTLINE_LIMITS__MAX_REGIONS": "many"}),
    Case("serve", "server.grace_s", env={"SIGHTLINE_SERVER__GRACE_S": "-1"}),
    Case("serve", "limits", env={"SIGHTLINE_LIMITS": "{"}),
    Case("serve", "log.level", env={"SIGHTLINE_LOG__LEVEL": "LOUD"}),
    Case("serve", "engine.device", env={"SIGHTLINE_ENGINE__DEVICE": "tpu"}),
    Case("serve extra", "unexpected extra argument"),
]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder of files that are wrong in different ways, by the names that the cases use."""
    root = tmp_path_factory.mktemp("wrong")
    for name in ("folder", "models/detector/1", "damaged/_versions"):
        (root / name).mkdir(parents=True)
    (root / "not-utf8-\udcff/_versions").mkdir(parents=True)
    os.mkfifo(root / "pipe")
    (root / "models/detector/1/model.onnx").write_bytes(b"\x00garbage")
    (root / "damaged/_versions/1.manifest").write_bytes(b"garbage")
    (root / "good.jpg").write_bytes(b"photo")
    files = {
        "empty": b"",
        "garbage": bytes(range(1, 256)) * 4,
        "queries": b"image,product_id\nnone.jpg,a\n",
        "good_queries": b"image,product_id\ngood.jpg,a\n",
        "feed": b"id,title,image_link\np1,Chair,none.jpg\n",
        "toml_broken": b"[limits\n",
        "toml_unknown": b"[limits]\nmax_region = 3\n",
        "toml_type": b"[limits]\nmax_regions = 'many'\n",
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
    (root / "feed.csv").write_bytes(files["feed"])
    paths = {name: str(root / name) for name in (*files, "folder", "pipe", "models", "damaged", "none")}
    return {
        **paths,
        "feed": str(root / "feed.csv"),
        "hostile": str(root / HOSTILE),
        "long": "x" * 5000,
        "surrogate": "\udcff",
        "not_utf8": str(root / "not-utf8-\udcff"),
    }


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Commands of the server configure logging for their process, which here is everybody's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def sightline(
    names: Mapping[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Case], tuple[int, str, str]]:
    """Runs a case's command; returns exit code, standard output and standard error."""

    # They change the whole process, which here is that of all tests.
    for effect in ("block_hangup", "close_to_libraries", "protect"):
        monkeypatch.setattr(serve, effect, lambda: None)

    def run(case: Case) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        for name, value in case.env.items():
            monkeypatch.setenv(name, value)
        words = case.command.split(" ")
        code = entry.run(app, [word.format(**names) if "{" in word else word for word in words], "sightline")
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize("case", CASES, ids=str)
def test_wrong_input_ends_in_a_few_plain_lines(case: Case, sightline: Callable[[Case], tuple[int, str, str]]) -> None:
    code, out, err = sightline(case)
    assert code == case.code, (out, err)
    assert case.says in err
    if err:
        assert err.splitlines()[-1].startswith("sightline"), err
    text = out + err
    assert "Traceback" not in text
    assert "internal error" not in text
    assert err.count("\n") <= MAX_LINES, err
    left = {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
    assert not left, text
