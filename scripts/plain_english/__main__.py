"""`python -m scripts.plain_english`: prints the jargon of the project's texts per 1,000 words.

`--check` fails for a file with more findings than `baseline.json` allows it; a file that is not listed there may have
none. `--write` lowers the baseline to what is found; it refuses to raise the sum, which `--accept` allows, for
a merge. `--list PATH ...` prints every finding.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from scripts.plain_english.findings import Finding, Reading, read_tree

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Path(__file__).with_name("baseline.json")


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail for files with more findings than the baseline")
    parser.add_argument("--write", action="store_true", help="write the baseline")
    parser.add_argument("--accept", action="store_true", help="with --write: the sum may rise")
    parser.add_argument("--list", nargs="+", metavar="PATH", default=(), help="print the findings below these paths")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout to count")
    options = parser.parse_args()
    readings = read_tree(options.root)
    for name in (name for name in readings if name.startswith(tuple(options.list))):
        show(name, readings[name].findings)
    print(summary(readings.values()))
    if options.write:
        return write(counts(readings), accept=options.accept)
    return check(readings, allowed()) if options.check else 0


def summary(readings: Iterable[Reading]) -> str:
    """The counts of all files in one line."""
    readings = list(readings)
    words = sum(reading.words for reading in readings)
    findings = [finding for reading in readings for finding in reading.findings]
    jargon = Counter(finding.written.lower() for finding in findings if not finding.opens_docstring)
    uses, openings = jargon.total(), len(findings) - jargon.total()
    common = ", ".join(f"{word} {count}" for word, count in jargon.most_common(8))
    rate = f"{1000 * uses / max(words, 1):.2f} per 1,000"
    return (
        f"plain English: {uses} dictionary words in {words} words, {rate} ({common}); "
        f"{openings} docstrings open with a question word"
    )


def counts(readings: Mapping[str, Reading]) -> dict[str, int]:
    """Findings of each file that has any."""
    return {name: len(reading.findings) for name, reading in readings.items() if reading.findings}


def allowed() -> dict[str, int]:
    """The baseline; empty where there is none."""
    found: dict[str, int] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    return found


def check(readings: Mapping[str, Reading], baseline: Mapping[str, int]) -> int:
    """Reports each file with more findings than its baseline; returns the exit code."""
    worse = {name: reading for name, reading in readings.items() if len(reading.findings) > baseline.get(name, 0)}
    for name, reading in worse.items():
        print(f"{name}: {len(reading.findings)} dictionary and question words, {baseline.get(name, 0)} allowed")
        new = added_lines(name)
        show(name, [each for each in reading.findings if each.line in new] or reading.findings)
    return 1 if worse else 0


def show(name: str, findings: Iterable[Finding]) -> None:
    """Prints findings as FILE:LINE."""
    for finding in findings:
        print(f"  {name}:{finding.line}: {finding.written!r}: write {finding.instead}")


def added_lines(name: str) -> set[int]:
    """Lines of a file that the last commit does not have; empty without git."""
    command = ["git", "-C", str(ROOT), "diff", "--unified=0", "HEAD", "--", name]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return set()
    lines: set[int] = set()
    for header in (line for line in ran.stdout.splitlines() if line.startswith("@@")):
        start, _, length = header.split("+", 1)[1].split(" ", 1)[0].partition(",")
        lines.update(range(int(start), int(start) + int(length or 1)))
    return lines


def write(found: Mapping[str, int], *, accept: bool) -> int:
    """Writes the baseline; returns 1 and writes nothing when the sum would rise."""
    before, after = sum(allowed().values()), sum(found.values())
    if BASELINE.exists() and after > before and not accept:
        print(f"the baseline allows {before} and {after} were found; use plain words, or --accept after a merge")
        return 1
    BASELINE.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
