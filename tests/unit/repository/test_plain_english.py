"""The check of plain English: jargon is found in prose, ordinary meanings and code are left alone."""

from pathlib import Path

import pytest

from scripts.plain_english import __main__ as command
from scripts.plain_english.findings import Reading, findings_in, read_file, read_tree
from scripts.plain_english.texts import Text, python_texts, texts_of, without_code


def found(content: str) -> list[str]:
    return [finding.written.lower() for finding in findings_in(Text(1, without_code(content)))]


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("The engine mends itself.", "mends"),
        ("Triton gave up the stub.", "gave up"),
        ("A caller who leaves is counted.", "caller who leaves"),
        ("a call that has left", "call that has left"),
        ("the worker hears of it", "hears"),
        ("what Triton was told", "told"),
        ("It stands in the log.", "stands"),
        ("The process stands still.", "stands"),
        ("a file beside the page", "beside"),
        ("the product's Picture", "picture"),
        ("in the library's words", "library's words"),
        ("It looks at the engine.", "looks"),
        ("refused at the door", "door"),
        ("depends on the company in a batch", "company"),
        ("waits for a place", "place"),
        ("built anew", "anew"),
        ("the file is no image", "is no image"),
        ("an environment of its own", "of its own"),
        ("a message for people", "for people"),
        ("shows what there is", "what there is"),
        ("whoever starts it", "whoever"),
        ("nobody waits for it", "nobody waits"),
        ("lines are taken back", "taken back"),
        ("one thing", "thing"),
    ],
)
def test_jargon_is_found(content: str, written: str) -> None:
    assert found(content) == [written]


@pytest.mark.parametrize(
    "content",
    [
        "Each object is looked up.",
        "It looks like a JPEG.",
        "D stands for the dimension.",
        "There is no engine.",
        "It is no longer served.",
        "It is decoded in place.",
        "A swap takes place.",
        "Its place in the flow.",
        "They cannot be told apart.",
        "Recommended: amended, depicted.",
        "what callers left in the engine's memory",
        "a label for people",
        "Call `engine.mend()` or see [the page](docs/pictures.md).",
        "in app/door.py",
        "heard.set(1)",
        "nothing, anything, something",
        "f'{picture} of {place}'",
    ],
)
def test_ordinary_meaning_and_code_are_left_alone(content: str) -> None:
    assert found(content) == []


def test_comments_docstrings_and_messages_are_read_and_names_are_not() -> None:
    source = (
        '"""A picture."""\n'
        "picture = mend(thing)  # beside it\n"
        'raise ValueError(f"no picture in {door}")\n'
        'key = "picture"\n'
        "class A:\n"
        "    field: int = 0\n"
        '    """What it is."""\n'
    )
    findings = [finding for text in python_texts(source) for finding in findings_in(text)]
    assert [(each.line, each.written) for each in findings] == [
        (1, "picture"),
        (2, "beside"),
        (3, "picture"),
        (7, "What"),
    ]


@pytest.mark.parametrize("word", ["What", "Whether", "How", "Where", "When", "Who", "Which", "Why"])
def test_docstring_that_opens_with_a_question_word_is_found(word: str) -> None:
    texts = python_texts(f'def f():\n    """{word} it is."""\n    print("{word} it is.")\n')
    findings = [finding for text in texts for finding in findings_in(text)]
    assert [(each.line, each.opens_docstring) for each in findings] == [(2, True)]


def test_line_numbers_of_a_page_survive_its_code_blocks(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# Page\n\n```\na picture\n```\n\nOne picture, `picture`.\n")
    assert [(each.line, each.written) for each in read_file(page).findings] == [(7, "picture")]


def test_comments_of_other_languages_are_read(tmp_path: Path) -> None:
    for name, content in (
        ("a.proto", "message Picture {} // a picture\n"),
        ("Makefile", "picture: door ## makes it anew\n"),
        ("a.toml", "picture = 1 # beside it\n"),
    ):
        (tmp_path / name).write_text(content)
        assert len(read_file(tmp_path / name).findings) == 1
    assert list(texts_of(tmp_path / "a.bin")) == []


def test_file_above_its_baseline_fails_and_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    reading = Reading(9, tuple(findings_in(Text(3, "a picture beside it"))))
    assert command.check({"a.py": reading}, {"a.py": 2}) == 0
    assert command.check({"a.py": reading}, {"a.py": 1}) == 1
    assert command.check({"a.py": reading}, {}) == 1
    assert "a.py:3: 'picture': write image" in capsys.readouterr().out


def test_baseline_may_fall_and_not_rise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BASELINE", tmp_path / "baseline.json")
    assert command.write({"a.py": 3}, accept=False) == 0
    assert command.write({"a.py": 4}, accept=False) == 1
    assert command.allowed() == {"a.py": 3}
    assert command.write({"b.py": 3}, accept=False) == 0
    assert command.write({"b.py": 4}, accept=True) == 0
    assert command.allowed() == {"b.py": 4}


def test_tree_is_read_without_git_and_without_generated_folders(tmp_path: Path) -> None:
    for name in ("docs/a.md", "demo-out/b.md", ".venv/c.py", "protos/python/sightline/v1/d.py", "x/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a picture\n" if name.endswith(".md") else "# a picture\n")
    readings = read_tree(tmp_path)
    assert {name: (reading.words, len(reading.findings)) for name, reading in readings.items()} == {"docs/a.md": (2, 1)}
