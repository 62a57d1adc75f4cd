"""`sightline privacy verify` against a sound server: every promise that can be checked holds."""

from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from sightline_privacy.promises import Promise
from sightline_privacy.report import Verdict
from tests.support.lens import lines_of_text, one_line
from tests.support.pictures import encode
from tests.support.verified import broken_in, engine, under_verification

PERSON_PHOTO = encode(Image.new("RGB", (160, 160), (120, 120, 120)), "PNG")


async def test_a_sound_server_keeps_all_twelve_promises(tmp_path: Path) -> None:
    async with under_verification(tmp_path) as subject:
        report = await subject.report(person_photo=PERSON_PHOTO)
    text = "\n".join(report.lines())
    assert len(report.results) == len(Promise) == 12
    assert [each.promise for each in report.results] == list(Promise)
    assert {each.verdict for each in report.results} == {Verdict.HOLDS}, text
    assert text.endswith("12 of 12 promises hold, 0 broken, 0 not checked")


@pytest.mark.parametrize("mode", ["off", "optional"])
async def test_a_server_that_requires_no_grants_breaks_nothing(tmp_path: Path, mode: str) -> None:
    async with under_verification(tmp_path, mode) as subject:
        report = await subject.report()
    assert broken_in(report) == set(), "\n".join(report.lines())
    assert report.of(Promise.DEFAULTS).verdict is Verdict.HOLDS
    grant = report.of(Promise.GRANT).verdict
    assert grant is (Verdict.NOT_CHECKED if mode == "off" else Verdict.HOLDS)


async def test_without_a_key_a_server_that_requires_grants_is_not_checked(tmp_path: Path) -> None:
    async with under_verification(tmp_path) as subject:
        report = await subject.report(signer=None)
    assert not report.is_broken
    assert "--grant-key" in report.of(Promise.RETENTION).reasons[0]


async def test_a_server_that_reads_printed_text_keeps_all_promises(tmp_path: Path) -> None:
    reading = engine()
    reading.models["text_detector"].usual = one_line
    reading.models["text_reader"].usual = partial(lines_of_text, "PRODUCT 2")
    async with under_verification(tmp_path, engine=reading, printed_text={"enabled": True}) as subject:
        report = await subject.report()
        assert subject.served.value("text_checks_total", outcome="matched") > 0
    assert broken_in(report) == set(), "\n".join(report.lines())
