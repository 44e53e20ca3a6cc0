"""Helpers of all benchmarks: child processes and their peak memory, percentiles, results kept as JSON."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

RESULTS_DIR = Path(__file__).parent / "results"
Key = TypeVar("Key")


class Percentiles(NamedTuple):
    """Percentiles of times, in milliseconds."""

    median_ms: float
    p99_ms: float
    max_ms: float


class ChildRun(NamedTuple):
    """One process from start to end."""

    wall_s: float
    cpu_s: float  # user and system, of all its threads
    peak_gb: float  # resident


@dataclass(frozen=True)
class Budget:
    """A measured value beside its goal. None is no goal, as for seconds, which say more about the machine."""

    name: str
    value: float
    bound: float | None
    unit: str
    at_least: bool = False  # else at most

    @property
    def is_met(self) -> bool:
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def cells(self) -> "BudgetCells":
        sign = "at least" if self.at_least else "at most"
        value = f"{self.value:,.3g}" if abs(self.value) < 1000 else f"{self.value:,.0f}"
        missed = "" if self.is_met else "  MISSED"
        goal = "" if self.bound is None else f"{sign} {self.bound:g} {self.unit}"
        return BudgetCells(f"{value} {self.unit}{missed}", goal)


class BudgetCells(NamedTuple):
    """A budget's cells in a table."""

    value: str
    bound: str


def percentiles(seconds: Iterable[float]) -> Percentiles:
    times = 1e3 * np.fromiter(seconds, np.float64)
    return Percentiles(*np.percentile(times, [50, 99, 100]).tolist())


def timed(keys: Sequence[Key], ask: Callable[[Key], object]) -> list[float]:
    """Returns the seconds that each key takes, one after another."""
    seconds = []
    for key in keys:
        started = time.perf_counter()
        ask(key)
        seconds.append(time.perf_counter() - started)
    return seconds


def run_child(command: Sequence[str], *, cores: Iterable[int] | None = None) -> ChildRun:
    """Runs a process, whose output goes where ours goes. Raises `SystemExit` if it fails."""
    started = time.monotonic()
    process = subprocess.Popen(command, preexec_fn=None if cores is None else lambda: pin(cores))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {process.returncode}")
    return ChildRun(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def pin(cores: Iterable[int]) -> None:
    """Keeps the calling process on these cores, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(cores))


def resident_gb(pid: int) -> float:
    """Returns the resident memory of another process, from `/proc`."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def disk_gb(*paths: Path) -> float:
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e9


def keep(name: str, figures: Mapping[str, object], results_dir: Path = RESULTS_DIR) -> Path:
    """Writes the figures as `NAME.json`, with when and on what they were measured."""
    results_dir.mkdir(parents=True, exist_ok=True)
    where = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    path = results_dir / f"{name}.json"
    path.write_text(json.dumps({**where, **figures}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path
