"""Memory that is freed goes back where the C library can be told to."""

import ctypes
import platform
import subprocess
import sys

import pytest

_HOLDS = """
import sys
from app.heap import give_back_large_blocks

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "told":
    assert give_back_large_blocks()
bytes(20_000_000)  # once it is freed, glibc takes blocks of that size from its heap
before, large, kept = resident_mb(), [], []
for _ in range(40):
    large.append(b"x" * 4_000_000)
    kept.append(b"x" * 100_000)  # pins what is before it
large.clear()
print(resident_mb() - before)
"""


def _held_mb(how: str) -> float:
    """Of 160 MB freed, between 4 MB that stay."""
    run = subprocess.run([sys.executable, "-c", _HOLDS, how], capture_output=True, text=True, check=True)
    return float(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_large_blocks_are_given_back_and_would_not_be_otherwise() -> None:
    assert _held_mb("told") < 20
    assert _held_mb("untold") > 100


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.heap import give_back_large_blocks

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("it was called"))
    assert give_back_large_blocks() is False
