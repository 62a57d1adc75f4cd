"""The command `sightline privacy verify` as a process: its lines, its JSON and its exit codes."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from sightline_client.grants import write_key
from sightline_server.domain.request import SearchQuery
from sightline_server.pipeline import Pipeline
from tests.support.grants import AUDIENCE, ISSUER
from tests.support.verified import Subject, under_verification

KINDS = ("bytes of a photo", "pixels")


async def run(subject: Subject, tmp_path: Path, *more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a verification of the server."""
    sources, signer = subject.plan.sources, subject.plan.signer
    assert signer is not None
    if not (tmp_path / "key.json").exists():
        write_key(tmp_path / "key.json", signer.key)
        (tmp_path / "token").write_text(subject.principals["app"])
    command = [sys.executable, "-m", "sightline_client.cli", "privacy", "verify"]
    command += ["--target", subject.served.address, "--metrics", sources.metrics_url]
    command += ["--log", str(sources.logs[0]), "--audit", str(sources.audit), "--folder", str(subject.folder)]
    command += ["--grant-key", str(tmp_path / "key.json"), "--issuer", ISSUER, "--audience", AUDIENCE]
    command += ["--token-file", str(tmp_path / "token"), *more]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_one_line_for_each_promise_and_exit_code_0(tmp_path: Path) -> None:
    async with under_verification(tmp_path) as subject:
        code, out, err = await run(subject, tmp_path)
    assert (code, err) == (0, ""), out
    lines = out.splitlines()
    assert len(lines) == 13
    assert lines[9].startswith("people               not checked")
    assert lines[-1] == "11 of 12 promises hold, 0 broken, 1 not checked"


async def test_a_broken_promise_is_exit_code_1_and_json_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_search = Pipeline.run

    async def leaking(self: Pipeline, query: object, catalog: object) -> object:
        if isinstance(query, SearchQuery):
            (tmp_path / "searched" / "photo").write_bytes(query.photo)
        async for event in run_search(self, query, catalog):  # type: ignore[arg-type]
            yield event

    monkeypatch.setattr(Pipeline, "run", leaking)
    async with under_verification(tmp_path) as subject:
        code, out, _ = await run(subject, tmp_path, "--json")
    report = json.loads(out)
    assert (code, report["broken"]) == (1, True)
    verdicts = {each["name"]: each["verdict"] for each in report["promises"]}
    assert (verdicts["zero retention"], verdicts["erasure"], verdicts["grant"]) == ("broken", "broken", "holds")
    (retention,) = (each for each in report["promises"] if each["name"] == "zero retention")
    assert retention["reasons"] == [f"the file {tmp_path / 'searched' / 'photo'} holds {each}" for each in KINDS]


async def test_a_server_that_cannot_be_searched_is_exit_code_2(tmp_path: Path) -> None:
    async with under_verification(tmp_path, opened=False) as subject:
        code, out, err = await run(subject, tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("sightline: no search succeeds, so nothing can be checked: UNAVAILABLE")


async def test_memory_needs_a_process_id_and_a_right(tmp_path: Path) -> None:
    async with under_verification(tmp_path) as subject:
        code, _, err = await run(subject, tmp_path, "--memory")
        assert (code, "--pid" in err) == (2, True)
        code, _, err = await run(subject, tmp_path, "--config", str(tmp_path / "absent.toml"))
        assert (code, "cannot read" in err) == (2, True)
        assert os.listdir(subject.folder) == []
