"""Reports of what is wrong with `sightline audit` and `sightline keys`."""

import pytest

from sightline_server.cli.reported_errors import errors_on_one_line, wrong


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (wrong("no key has this id"), "sightline: no key has this id\n"),
        (PermissionError(13, "Permission denied", "/keys"), "sightline: /keys: Permission denied\n"),
        (OSError("no room"), "sightline: no room\n"),
    ],
)
def test_error_is_one_line_and_exit_code_2(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, errors_on_one_line():
        raise error
    assert (ended.value.code, capsys.readouterr()) == (2, ("", line))


def test_output_that_has_no_reader_is_not_an_error_of_the_command() -> None:
    with pytest.raises(BrokenPipeError), errors_on_one_line():
        raise BrokenPipeError
