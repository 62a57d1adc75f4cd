"""The verification of an audit log: what was changed, removed, moved or added since it was written.

    first key -> key of each record -> each line behind the one before it -> the state, which knows how many there are
Rule: reads only, also a log that is being written. A finding says where and what; each is a fault or a remark. After a
fault the chain is picked up behind it, so that one change does not hide another.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sightline_server.access.audit_log.chain import (
    FRAME,
    Fields,
    Link,
    following,
    key_id,
    mac_of,
    next_key,
    origin,
    record_id,
    stated_mac,
)
from sightline_server.access.audit_log.files import STATE, LogFile, chains_of, files_of, header_of, lines_of, parsed
from sightline_server.access.audit_log.folder import read_root, wrong
from sightline_server.access.audit_log.records import FILES_REMOVED
from sightline_server.access.audit_log.recovery import limit_of, rest_of
from sightline_server.access.audit_log.state import State, read_state

MOST_STEPS = 20_000_000
"""Records that may be missing in one gap; each takes a hash to skip."""
MOST_FINDINGS = 100
"""Findings that are kept for each chain; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about a log: a fault, or a remark about what happens without one."""

    where: str
    text: str
    fault: bool = True


@dataclass(slots=True)
class ChainReport:
    """The findings about one chain. `first` and `last` are the ids of its records, empty without any."""

    chain: int
    records: int = 0
    first: str = ""
    last: str = ""
    mac: str = ""
    findings: list[Finding] = field(default_factory=list)
    faults: int = 0

    def add(self, where: str, text: str, *, fault: bool = True) -> None:
        """Adds a finding."""
        self.faults += fault
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(where, text, fault))


def verify_log(folder: Path, first_key: bytes) -> list[ChainReport]:
    """A report on each chain of the log in `folder`. Raises `SightlineError` of kind CONFIGURATION where the key is of
    another log, and `OSError`."""
    chains, root = chains_of(folder), read_root(folder)
    stated = {root.key_id} if root else stated_key_ids(chains)
    if stated and key_id(first_key) not in stated:
        raise wrong(f"the key is not the first key of the audit log in {folder}")
    reports = [ChainVerifier(number, path, first_key).run() for number, path in chains.items()]
    for number in set(range(root.chains if root else 0)) - set(chains):
        missing = ChainReport(number)
        missing.add(f"chain-{number}", "the whole chain is missing")
        reports.append(missing)
    if root is None and reports:
        reports[0].add(str(folder), "root.json is missing: whether whole chains are missing cannot be checked")
    return sorted(reports, key=lambda report: report.chain)


def stated_key_ids(chains: dict[int, Path]) -> set[str]:
    """The ids of first keys that the files state, unverified."""
    headers = [header_of(file) for path in chains.values() for file in files_of(path)[:1]]
    return {str(header.get("key_id")) for header in headers if header}


class ChainVerifier:
    """The verification of one chain. `link` is the end of the chain up to the line that comes next."""

    def __init__(self, number: int, folder: Path, first_key: bytes) -> None:
        self._folder = folder
        self._number = number
        self._link = origin(number, first_key)
        self._state: State | None = None
        self._state_fits: bool | None = None
        """True if the state is that of the chain at its number; None before that was reached."""
        self._before: bytes | None = None
        """The MAC that a changed line should have; None behind a line that is right."""
        self._removed_before = 0
        """The number of the first record that a removal by the server left."""
        self._begins_at = 0
        self._report = ChainReport(number)

    def run(self) -> ChainReport:
        """The report."""
        # Before the lines: a log that is being written has more of them than this state says, never fewer.
        self._state = read_state(self._folder / STATE)
        files = files_of(self._folder)
        if files:
            self._begin(files[0])
        for file in files:
            self._read(file, files)
        self._compare_state()
        self._check_beginning()
        self._check_end()
        return self._report

    def _begin(self, file: LogFile) -> None:
        """Skips the records of files that are not there any more."""
        header = header_of(file) or {}
        seq, mac = self._seq_of(header), header.get("previous_mac")
        if seq and isinstance(mac, str) and len(mac) == 2 * len(self._link.mac):
            self._skip_to(seq)
            self._link = Link(seq, self._link.key, hex_bytes(mac))
            self._begins_at = seq

    def _read(self, file: LogFile, files: list[LogFile]) -> None:
        """Verifies the lines of one file."""
        last = file is files[-1]
        limit = None if last else limit_of(file, files)
        at = 0
        for number, line in enumerate(lines_of(file.path, 0, limit), 1):
            if last and self._unfinished(file, at, line):
                return
            self._check(line, f"{self._folder.name}/{file.path.name}:{number}")
            at += len(line)
        if limit is not None:
            self._check_rest(file, limit, at, files)

    def _check(self, line: bytes, where: str) -> None:
        """Verifies one line."""
        self._compare_state()
        after = following(self._link, line)
        if after is None and self._before is not None:
            # The line before was changed in its MAC only: the chain is picked up here.
            after = following(Link(self._link.seq, self._link.key, self._before), line)
        if after is None:
            self._explain(line, where)
            return
        self._before = None
        self._take(line, after)

    def _take(self, line: bytes, after: Link) -> None:
        name = record_id(self._number, self._link.seq)
        self._report.first = self._report.first or name
        self._report.last, self._report.mac = name, after.mac.hex()
        self._report.records += 1
        self._link = after
        if b'"' + FILES_REMOVED.encode() + b'"' in line:
            fields = parsed(line) or {}
            self._removed_before = max(self._removed_before, self._seq_of({"record_id": fields.get("before")}))

    def _explain(self, line: bytes, where: str) -> None:
        """Reports a line that is not the next one of the chain, and picks the chain up behind it."""
        fields, mac = parsed(line), stated_mac(line)
        seq = self._seq_of(fields or {}, -1)
        expected = self._link.seq
        if fields is None or mac is None or seq < 0:
            self._report.add(where, f"the line is not a record; record {self._name(expected)} was expected")
            return
        if seq < expected:
            self._report.add(where, f"record {self._name(seq)} is out of order, copied or changed: "
                             f"{self._name(expected)} was expected")  # fmt: skip
            return
        if seq > expected:
            if not self._skip_to(seq):
                self._report.add(where, f"record {self._name(seq)} is too far from {self._name(expected)}")
                return
            missing = self._range(expected, seq - 1)
            self._report.add(where, f"{missing} missing; {self._name(seq)} itself cannot be checked without")
        else:
            self._report.add(where, f"record {self._name(seq)} was changed, or comes behind one that was")
        # The next line was made with the MAC of this one, or with the one that it states: both are tried.
        self._before = mac_of(self._link, line[:-FRAME])
        self._link = Link(self._link.seq + 1, next_key(self._link.key), mac)

    def _unfinished(self, file: LogFile, at: int, line: bytes) -> bool:
        """Returns whether `line`, the last of the last file, was being written, and remarks it then."""
        state = self._state
        acknowledged = state is None or state.closed or self._link.seq < state.link.seq
        if line.endswith(b"\n") or acknowledged:
            return False
        count, _ = rest_of(file.path, at)
        self._report.add(
            f"{self._folder.name}/{file.path.name}",
            f"{count} bytes at the end are a record that was not finished, by a crash or because it is being written; "
            "it was not acknowledged",
            fault=False,
        )
        return True

    def _check_rest(self, file: LogFile, limit: int, at: int, files: list[LogFile]) -> None:
        """Compares the bytes behind the point at which the chain left a file with what the next file says of them."""
        where = f"{self._folder.name}/{file.path.name}"
        if at < limit:
            self._report.add(where, f"{limit - at} bytes at its end are missing")
        header = next(
            (found for later in files if (found := header_of(later)) and found.get("previous_file") == file.path.name),
            {},
        )
        count, digest = rest_of(file.path, limit)
        if (count, digest) != (header.get("unfinished_bytes", 0), header.get("unfinished_sha256", "")):
            self._report.add(where, f"{count} bytes behind its last record were added or changed later")
        elif count:
            text = f"{count} bytes behind its last record were not finished, and not acknowledged"
            self._report.add(where, text, fault=False)

    def _check_beginning(self) -> None:
        """Reports records before the first file, unless the server removed them."""
        begins_at = self._begins_at
        if not begins_at:
            return
        removed = self._range(0, begins_at - 1)
        if self._removed_before >= begins_at:
            self._report.add(self._folder.name, f"{removed} not there: the server removed old files", fault=False)
        else:
            self._report.add(self._folder.name, f"{removed} missing, and no record says that the server removed them")

    def _compare_state(self) -> None:
        """Compares the state with the chain at its number, also where more records follow: nobody else can make it."""
        if self._state is not None and self._link.seq == self._state.link.seq and not self._state_fits:
            self._state_fits = self._state.link == self._link

    def _check_end(self) -> None:
        """Compares the end of the lines with the state."""
        state, where, seq = self._state, f"{self._folder.name}/{STATE}", self._link.seq
        if state is None:
            self._report.add(where, "it is missing or damaged: whether records at the end are missing is not known")
        elif state.link.seq > seq:
            self._report.add(self._folder.name, f"{self._range(seq, state.link.seq - 1)} missing at the end")
        elif state.closed and state.link.seq < seq:
            self._report.add(where, "it is older than the last records")
        elif not self._state_fits and not self._report.faults:
            self._report.add(where, "it was changed: whether records at the end are missing is not known")

    def _skip_to(self, seq: int) -> bool:
        """Goes on to the key of record `seq`; returns whether that is near enough."""
        steps = seq - self._link.seq
        if not 0 <= steps <= MOST_STEPS:
            return False
        self._link = Link(seq, next_key(self._link.key, steps), self._link.mac)
        return True

    def _seq_of(self, fields: Fields, otherwise: int = 0) -> int:
        """The number in a record id of this chain, or `otherwise`."""
        chain, _, seq = str(fields.get("record_id")).partition("-")
        valid = chain == str(self._number) and seq.isascii() and seq.isdigit() and len(seq) < 16
        return int(seq) if valid else otherwise

    def _name(self, seq: int) -> str:
        return record_id(self._number, seq)

    def _range(self, first: int, last: int) -> str:
        """Some records as the subject of a sentence, with its verb."""
        if first == last:
            return f"record {self._name(first)} is"
        return f"records {self._name(first)} to {self._name(last)} ({last - first + 1}) are"


def hex_bytes(text: str) -> bytes:
    """The bytes of hexadecimal digits; zeros for any other text, which no MAC fits."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return bytes(len(text) // 2)
