"""Memory that is freed goes back where the C library can be told to."""

import ctypes
import platform
import subprocess
import sys

import pytest

from scopeview.malloc import keep_freed_memory, release_large_blocks

_HOLDS = """
import sys
from scopeview.malloc import release_large_blocks

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "told":
    assert release_large_blocks()
bytes(20_000_000)  # once it is freed, glibc takes blocks of that size from its heap
before, large, kept = resident_mb(), [], []
for _ in range(40):
    large.append(b"x" * 4_000_000)
    kept.append(b"x" * 100_000)  # pins what is before it
large.clear()
print(resident_mb() - before)
"""

_TAKES_ANEW = """
import resource, sys
from scopeview import malloc

if sys.argv[1]:
    assert getattr(malloc, sys.argv[1])()

def work():
    blocks = [b"x" * int(sys.argv[2]) for _ in range(3)]  # taken and freed

work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _printed(script: str, *how: str) -> float:
    run = subprocess.run([sys.executable, "-c", script, *how], capture_output=True, text=True, check=True)
    return float(run.stdout)


def _held_mb(how: str) -> float:
    """Of 160 MB freed, between 4 MB that stay."""
    return _printed(_HOLDS, how)


def _pages(told: str, n_bytes: int) -> float:
    """Handed out by the system while three blocks of that size were taken ten times."""
    return _printed(_TAKES_ANEW, told, str(n_bytes))


glibc_alone = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")


@glibc_alone
def test_large_blocks_are_given_back_and_would_not_be_otherwise() -> None:
    assert _held_mb("told") < 20
    assert _held_mb("untold") > 100


@glibc_alone
def test_what_is_taken_again_need_not_be_handed_out_anew() -> None:
    assert _pages("keep_freed_memory", 24_000_000) < 1_000
    assert _pages("", 24_000_000) > 50_000


@glibc_alone
def test_what_a_page_takes_need_not_be_handed_out_anew() -> None:
    assert _pages("release_large_blocks", 600_000) < 500
    assert _pages("", 600_000) > 2_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("it was called"))
    assert release_large_blocks() is False
    assert keep_freed_memory() is False
