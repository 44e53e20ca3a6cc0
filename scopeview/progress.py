"""Progress of long work: a bar with rate and ETA on a terminal, JSON lines anywhere else.

Everything goes to standard error; standard output is for results.
"""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.table import Column
from rich.text import Text

_JSON_EVERY_S = 10.0


class Task(ABC):
    """A piece of work in progress."""

    @abstractmethod
    def advance(self, n: int = 1) -> None:
        """Records that `n` more units are done."""

    @abstractmethod
    def expect(self, total: int) -> None:
        """Sets the total, if it was not known at the start."""

    @abstractmethod
    def show(self, figures: Mapping[str, str]) -> None:
        """Shows the current state, beside the bar or in the next JSON line; replaces the previous one."""

    @abstractmethod
    def note(self, figures: Mapping[str, object]) -> None:
        """Reports how the work is done: a line on a terminal, fields of a JSON line anywhere else."""


class NullTask(Task):
    """A task whose progress is shown elsewhere."""

    def advance(self, n: int = 1) -> None: ...

    def expect(self, total: int) -> None: ...

    def show(self, figures: Mapping[str, str]) -> None: ...

    def note(self, figures: Mapping[str, object]) -> None: ...


@contextmanager
def task(name: str, total: int | None, unit: str, *, done: int = 0) -> Iterator[Task]:
    """Reports `name` while the block runs; `done` of `total` units were finished in an earlier run."""
    if sys.stderr.isatty():
        with _bar(unit) as progress:
            yield _RichTask(progress, progress.add_task(name, total=total, completed=done, figures=""))
    else:
        lines = _JsonTask(name, total, unit, done)
        try:
            yield lines
        finally:
            lines.report()


def log_event(name: str, figures: Mapping[str, object]) -> None:
    """Logs an event before work begins: a line on a terminal, a JSON line anywhere else."""
    if sys.stderr.isatty():
        line = f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items())
        Console(stderr=True).print(line, markup=False)  # a file's name may hold [brackets]
    else:
        print(json.dumps({"task": name, **figures}), file=sys.stderr, flush=True)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._unit = unit

    def render(self, task: RichTask) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.1f} {self._unit}/s")


def _bar(unit: str) -> Progress:
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), _Rate(unit))
    figures = TextColumn("{task.fields[figures]}")
    return Progress(*columns, TimeRemainingColumn(), figures, console=Console(stderr=True))


class _RichTask(Task):
    def __init__(self, progress: Progress, task_id: TaskID) -> None:
        self._progress, self._task_id = progress, task_id

    def advance(self, n: int = 1) -> None:
        self._progress.advance(self._task_id, n)

    def expect(self, total: int) -> None:
        self._progress.update(self._task_id, total=total)

    def show(self, figures: Mapping[str, str]) -> None:
        self._progress.update(
            self._task_id, figures="  ".join(f"{name} {at}" for name, at in figures.items())
        )

    def note(self, figures: Mapping[str, object]) -> None:
        self._progress.console.print("  ".join(f"{name} {value}" for name, value in figures.items()))


class _JsonTask(Task):
    def __init__(self, name: str, total: int | None, unit: str, done: int) -> None:
        self._name, self._total, self._unit, self._done = name, total, unit, done
        self._skipped, self._started = done, time.monotonic()
        self._reported = self._started
        self._figures: Mapping[str, str] = {}
        self.report()

    def advance(self, n: int = 1) -> None:
        self._done += n
        if time.monotonic() - self._reported >= _JSON_EVERY_S:
            self.report()

    def expect(self, total: int) -> None:
        self._total = total

    def show(self, figures: Mapping[str, str]) -> None:
        self._figures = figures

    def note(self, figures: Mapping[str, object]) -> None:
        print(json.dumps({"task": self._name, "done": self._done, **figures}), file=sys.stderr, flush=True)

    def report(self) -> None:
        self._reported = time.monotonic()
        elapsed_s = self._reported - self._started
        rate = (self._done - self._skipped) / elapsed_s if elapsed_s > 0 else 0.0
        left = (self._total - self._done) / rate if self._total is not None and rate > 0 else None
        line = {
            "task": self._name,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "elapsed_s": round(elapsed_s, 1),
            "per_s": round(rate, 2),
            "eta_s": None if left is None else round(left, 1),
            **self._figures,
        }
        print(json.dumps(line), file=sys.stderr, flush=True)
