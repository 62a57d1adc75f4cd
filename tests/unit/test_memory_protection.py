"""The server's own memory: what is freed is overwritten, nothing is dumped, and the engine inherits what it should."""

import os
import subprocess
import sys

import pytest

from sightline_server.memory import ARENAS_PER_CORE

PROTECTED = """
from sightline_server.memory import give_back, protect
protect()
give_back()
"""
FREED = """
import ctypes
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
block = library.malloc(ctypes.c_size_t(100_000))
ctypes.memset(block, 7, 100_000)
library.free(ctypes.c_void_p(block))
# The start of a free block is soon taken by others.
print(set((ctypes.c_ubyte * 20_000).from_address(block + 70_000)))
"""
DUMPS = """
import ctypes, os, resource
with open("/proc/self/coredump_filter") as file:
    print(int(file.read(), 16), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def said(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_freed_memory_is_overwritten() -> None:
    assert said(PROTECTED + FREED) == "{90}"
    assert said(FREED) == "{7}"


def test_heaps_of_threads_keep_little_of_many_uploads() -> None:
    """gRPC's threads receive a message in pieces, which lie at the end of their heaps when they are freed."""
    program = """
import ctypes, threading
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
def receive(all_there):
    pieces = [library.malloc(ctypes.c_size_t(60_000)) for _ in range(1000)]
    all_there.wait()
    for piece in pieces:
        library.free(ctypes.c_void_p(piece))
    all_there.wait()
before, all_there = resident_mb(), threading.Barrier(5)
threads = [threading.Thread(target=receive, args=(all_there,), daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
all_there.wait()
most = resident_mb() - before
all_there.wait()
give_back()
print(most > 200, resident_mb() - before < 100)
"""
    assert said(PROTECTED + program) == "True True"


def test_many_threads_share_few_heaps() -> None:
    """A thread that ends leaves its free pieces to its heap: with more heaps they would add up to more."""
    program = """
import ctypes, os, threading
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.fopen.restype = ctypes.c_void_p
def allocate(all_there):
    library.malloc(ctypes.c_size_t(60_000))
    all_there.wait()
many = 8 * os.cpu_count() + 4
all_there = threading.Barrier(many)
threads = [threading.Thread(target=allocate, args=(all_there,)) for _ in range(many)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = ctypes.c_void_p(library.fopen(b"/dev/stdout", b"w"))
library.malloc_info(0, file)
library.fclose(file)
"""
    most = ARENAS_PER_CORE * (os.cpu_count() or 1)
    assert 2 < said(PROTECTED + program).count("<heap ") <= most < said(program).count("<heap ")


def test_nothing_is_dumped_and_no_other_process_may_read_it() -> None:
    assert said(PROTECTED + DUMPS) == "0 0 (0, 0)"


def test_programs_that_it_starts_inherit_an_empty_dump_and_nothing_else() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {DUMPS!r}], check=True)"
    assert said(PROTECTED + child) == "0 1 (0, 0)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FREED!r}], check=True)"
    assert said(PROTECTED + child) == "{7}"


def test_modules_are_left_out_of_collections_and_later_cycles_are_not() -> None:
    program = """
import gc, weakref
from sightline_server.memory import keep_modules
keep_modules()
class Node: pass
node = Node(); node.itself = node; gone = weakref.ref(node); del node
gc.collect()
print(len(gc.get_objects()) < gc.get_freeze_count(), gone() is None)
"""
    assert said(program) == "True True"


def test_a_process_with_kept_modules_ends_without_a_word_about_what_is_left() -> None:
    program = """
import sightline_server.stages.codes.reading
from sightline_server.memory import keep_modules
keep_modules()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
