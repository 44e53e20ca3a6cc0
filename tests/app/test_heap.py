"""Memory that is freed goes back where the C library can be told to."""

import ctypes
import platform
import subprocess
import sys

import pytest

_GROWS = """
import sys
from app.heap import give_back_large_blocks

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "told":
    assert give_back_large_blocks()
bytearray(20_000_000)  # once freed, glibc takes such blocks from its heap
kept, before = [], resident_mb()
for _ in range(40):
    large = bytearray(4_000_000)
    kept.append(bytearray(100_000))
    del large
print(resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_large_blocks_are_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", _GROWS, "told"], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 20


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.heap import give_back_large_blocks

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("it was called"))
    assert give_back_large_blocks() is False
