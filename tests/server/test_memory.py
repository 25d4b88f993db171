"""The allocator is told to share its heaps, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import threading, re
from server.memory import share_heaps
assert share_heaps() or {always}
wait = threading.Barrier(33)
def work():
    kept = [bytes(600) for _ in range(20_000)]
    wait.wait()
    wait.wait()
for _ in range(32):
    threading.Thread(target=work).start()
wait.wait()
import ctypes, tempfile
libc = ctypes.CDLL("libc.so.6")
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall("<heap ", file.read().decode())))
wait.wait()
"""


def heaps(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_threads_share_two_heaps() -> None:
    before = heaps(PROGRAM.format(always=True).replace("share_heaps()", "True"))
    assert before > 2, "else the test shows nothing"
    assert heaps(PROGRAM.format(always=False)) <= 2
