"""The detector of the call-home test: what it must find and what it must let pass, on lines as strace writes them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import strace
from tests.support.calling_home import Places, findings

PLACES = Places(
    allowed=(Path("/tmp"), Path("/place")),
    forbidden=(Path("/tmp/home"),),
    working_folder=Path("/tmp/home/work"),
    code=(Path("/code"),),
)
V4 = "{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr({host!r})}}"
V6 = (
    "{{sa_family=AF_INET6, sin6_port=htons({port}), sin6_flowinfo=htonl(0), "
    "inet_pton(AF_INET6, {host!r}, &sin6_addr), sin6_scope_id=0}}"
)


def address(shape: str, host: str, port: int) -> str:
    return shape.format(host=host, port=port).replace("'", '"')


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (f"connect(3<socket:[1]>, {address(V4, '192.0.2.1', 443)}, 16) = -1 EINPROGRESS (Now)", "192.0.2.1 port 443"),
        (f"connect(3<socket:[1]>, {address(V6, '2001:db8::1', 443)}, 28) = 0", "2001:db8::1 port 443"),
        (f"connect(3<socket:[1]>, {address(V6, '::ffff:192.0.2.1', 80)}, 28) = 0", "port 80"),
        (f"connect(3<socket:[1]>, {address(V4, '127.0.0.53', 53)}, 16) = 0", "name server"),
        (f"connect(3<socket:[1]>, {address(V6, '::1', 53)}, 28) = 0", "name server"),
        (f'sendto(3<socket:[1]>, "x", 1, 0, {address(V4, "224.0.0.251", 5353)}, 16) = 1', "name server"),
        (f'sendto(3<socket:[1]>, "x", 1, 0, {address(V4, "192.0.2.1", 9)}, 16) = 1', "192.0.2.1"),
        (f"sendmsg(3<socket:[1]>, {{msg_name={address(V4, '192.0.2.1', 9)}, msg_namelen=16}}, 0) = 1", "192.0.2.1"),
        (
            f"sendmmsg(3<socket:[1]>, [{{msg_hdr={{msg_name=NULL}}}}, {{msg_hdr={{msg_name="
            f"{address(V4, '192.0.2.1', 9)}}}}}], 2, 0) = 2",
            "192.0.2.1",
        ),
        (f"connect(3<socket:[1]>, {address(V4, '192.0.2.1', 443)}, 16 <unfinished ...>", "192.0.2.1"),
        (f"bind(3<socket:[1]>, {address(V4, '0.0.0.0', 8002)}, 16) = 0", "listens on 0.0.0.0"),
        (f"bind(3<socket:[1]>, {address(V6, '::', 8002)}, 28) = 0", "listens on ::"),
        (
            'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/systemd/resolve/io.systemd.Resolve"}, 41) = 0',
            "io.systemd.Resolve",
        ),
        ('connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path=@"bus"}, 6) = 0', "@"),
        (
            'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path=@"/tmp/sightline-7-8-run-0a/triton:1"}, 36) = 0',
            "@",
        ),
        (
            'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/tmp/sightline-7-8-run-0a/other:1"}, 36) = 0',
            "other",
        ),
        ('sendto(3<socket:[1]>, "\\2\\0\\0\\0\\r\\0\\0\\0\\6\\0\\0\\0hosts\\0", 18, 16384, NULL, 0) = 18', "nscd"),
        ('sendto(3<socket:[1]>, "\\2\\0\\0\\0\\16\\0\\0\\0\\2\\0\\0\\0a\\0", 14, 16384, NULL, 0) = 14', "nscd"),
        ("connect(3<socket:[1]>, {sa_family=AF_VSOCK, svm_cid=0x2, svm_port=0x1}, 16) = 0", "AF_VSOCK"),
        ("io_uring_setup(8, {flags=0}) = 4<anon_inode:[io_uring]>", "ring"),
        ('openat(AT_FDCWD</w>, "/tmp/home/x", O_WRONLY|O_CREAT, 0644) = 3</tmp/home/x>', "writes /tmp/home/x"),
        ('openat(AT_FDCWD</w>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 7</etc/hosts>', "looks up"),
        ('openat(AT_FDCWD</w>, "/tmp/link", O_RDWR) = 3</etc/passwd>', "writes /etc/passwd"),
        ('openat(AT_FDCWD</w>, "/tmp/home/x", O_WRONLY|O_CREAT, 0644) = -1 ENOENT (No such)', "tries to write"),
        ('openat(AT_FDCWD</tmp/home/work>, "x", O_WRONLY|O_CREAT, 0644) = 3</tmp/home/work/x>', "work/x"),
        ('openat(AT_FDCWD</w>, "/tmp/home", O_RDWR|O_TMPFILE, 0600) = 3</tmp/home/#5>(deleted)', "/tmp/home/#5"),
        ('mkdir("/tmp/home/.cache", 0700) = 0', ".cache"),
        ('mkdir("relative", 0700) = 0', "/tmp/home/work/relative"),
        ('rename("/tmp/a", "/tmp/home/b") = 0', "/tmp/home/b"),
        ('renameat2(7</tmp>, "a", 8</tmp/home>, "b", 0) = 0', "/tmp/home/b"),
        ('symlink("/tmp/a", "/var/b") = 0', "/var/b"),
        ('unlinkat(7</tmp/home>, "b", 0) = 0', "/tmp/home/b"),
        ('openat(AT_FDCWD</w>, "/tmp/home/__pycache__/a", O_CREAT, 0644) = 3</tmp/home/__pycache__/a>', "__pycache__"),
        ('openat(AT_FDCWD</w>, "/code/a.py", O_RDWR) = 3</code/a.py>', "/code/a.py"),
    ],
)
def test_what_leaves_the_machine_or_its_places_is_found(line: str, part: str) -> None:
    found = findings([line, line], PLACES)
    assert len(found) == 1, found
    assert part in found[0]


@pytest.mark.parametrize(
    "line",
    [
        'symlink("/var/a", "/tmp/b") = 0',
        f"connect(3<socket:[1]>, {address(V4, '127.0.0.1', 50051)}, 16) = -1 EINPROGRESS (Now)",
        f"connect(3<socket:[1]>, {address(V4, '0.0.0.0', 50051)}, 16) = 0",
        f"connect(3<socket:[1]>, {address(V6, '::ffff:127.0.0.1', 50051)}, 28) = 0",
        f"bind(3<socket:[1]>, {address(V6, '::1', 53)}, 28) = 0",
        "connect(3<socket:[1]>, {sa_family=AF_UNSPEC, sa_data=...}, 16) = 0",
        "bind(3<socket:[1]>, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0",
        'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such)',
        'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/tmp/sightline-7-8-run-0a/triton:1"}, 36) = 0',
        'symlink("/home/me/models", "/tmp/sightline-7-8-run-0a/models") = 0',
        'sendto(3<socket:[1]>, "\\2\\0\\0\\0\\v\\0\\0\\0\\7\\0\\0\\0passwd\\0", 19, 16384, NULL, 0) = 19',
        'sendto(3<socket:[1]>, "\\0", 1, 0, NULL, 0) = 1',
        'openat(AT_FDCWD</w>, "/tmp/home/x", O_RDONLY|O_CLOEXEC) = 3</tmp/home/x>',
        'openat(AT_FDCWD</w>, "/etc/x", O_WRONLY|O_CREAT, 0644) = -1 EACCES (Permission denied)',
        'openat(AT_FDCWD</w>, "/tmp/x", O_WRONLY|O_CREAT, 0644) = 3</tmp/x>',
        'openat(AT_FDCWD</w>, "/proc/7/fd/8", O_RDWR|O_CLOEXEC) = 8</memfd:core>(deleted)',
        'openat(AT_FDCWD</w>, "/code/__pycache__/a.1", O_CREAT, 0644) = 3</code/__pycache__/a.1>',
        'rename("/place/a", "/tmp/b") = 0',
        "io_uring_setup(8, {flags=0}) = -1 ENOSYS (Function not implemented)",
        "exit_group(0)     = ?",
        "+++ exited with 0 +++",
    ],
)
def test_what_stays_on_the_machine_is_not_found(line: str) -> None:
    assert findings([line], PLACES) == []


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("import socket; s = socket.socket(); s.setblocking(False); s.connect_ex(('192.0.2.1', 443))", "192.0.2.1"),
        ("import socket; socket.socket(type=socket.SOCK_DGRAM).connect_ex(('127.0.0.53', 53))", "name server"),
        ("import os, pathlib; pathlib.Path(os.environ['HOME'], 'left').touch()", "home/left"),
        ("import socket; socket.getaddrinfo('localhost', 80)", "looks up"),
        ("import os; os.mkdir('left')", "work/left"),
        ("import os; os.system('sh -c \"echo x > $HOME/left\"')", "home/left"),
        ("import threading, pathlib; t = threading.Thread(target=pathlib.Path('left').touch); t.start()", "work/left"),
        ("import pathlib, os; pathlib.Path('/dev/null').write_text('x'); os.makedirs('../place/x')", ""),
    ],
)
def test_a_traced_program_is_found_or_let_pass(tmp_path: Path, script: str, part: str) -> None:
    home, work, place = tmp_path / "home", tmp_path / "work", tmp_path / "place"
    for folder in (home, work, place):
        folder.mkdir()
    command = strace.traced([sys.executable, "-I", "-S", "-c", script], tmp_path / "trace")
    subprocess.run(command, cwd=work, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, check=True, timeout=60)
    places = Places(allowed=(place,), forbidden=(home, work), working_folder=work)
    found = findings(strace.lines(tmp_path / "trace"), places)
    assert [part] == [part for each in found if part in each] if part else found == []
