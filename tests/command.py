"""The command line: in this process, and in one of its own that is stopped at a chosen moment."""

import functools
import io
import json
import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal
from unittest.mock import patch

TIMEOUT_S = 120
_ROOT = Path(__file__).resolve().parent.parent
_OURS = (f"{_ROOT}/indexer/", f"{_ROOT}/scopeview/")
_WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir")


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Moment:
    """Just before the `call`-th call (from 1) of `function`, a dotted name; where that is None, just before
    the `call`-th change of the file system; where it is "*", the `call`-th call of any function of ours."""

    function: str | None
    call: int
    by: signal.Signals = signal.SIGKILL

    def __str__(self) -> str:
        return f"{self.function or 'write'}-{self.call}"


def scopeview(*words: object) -> Ended:
    """`scopeview WORDS...` in this process. An error without a message of its own is raised, not printed."""
    from scopeview.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    argv = ["scopeview", *map(str, words)]
    with patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            return Ended(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("typer ends every command with SystemExit")


def scopeview_until(moment: Moment | None, log: Path, *words: object) -> Ended:
    """The same in a process of its own, stopped at `moment` if it gets there; code -9 for a killed one.

    The process is forked from one that has imported everything and computed nothing, so it starts at once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "scopeview.__main__", "indexer.pipeline", "tests.command"])
    process = context.Process(target=_run, args=(moment, log, [str(word) for word in words]))
    process.start()
    process.join(TIMEOUT_S)
    assert process.exitcode is not None, f"{words} still runs after {TIMEOUT_S} s"
    return Ended(process.exitcode, "", log.read_text())


def _run(moment: Moment | Literal["count"] | None, log: Path, words: list[str]) -> None:
    import torch

    from scopeview.__main__ import main

    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    torch.set_num_threads(1)
    # As from a terminal: a shell's background jobs, and so whatever runs the tests there, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["scopeview", *words]
    if moment == "count":
        _counted(main, log)
    elif moment is not None:
        _arm(moment)
    main()


def calls_by_task(log: Path, *words: object) -> dict[str, tuple[int, int]]:
    """The same, left alone: between which of its calls (as of `Moment("*", ...)`) each task was under way."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_run, args=("count", log, [str(word) for word in words]))
    process.start()
    process.join(TIMEOUT_S)
    assert process.exitcode == 0, log.read_text()
    starts: dict[str, int] = json.loads(log.with_suffix(".calls").read_text())
    ends = [*list(starts.values())[1:], starts["end"]]
    spans = zip(starts, starts.values(), ends, strict=True)
    return {name: (start, end) for name, start, end in spans if name != "end"}


def _counted(main: Callable[[], None], log: Path) -> None:
    """Runs it, and leaves beside the log how many calls there were when each task began, and at the end."""
    from scopeview.progress import _JsonTask

    calls, starts = 0, dict[str, int]()
    begin = _JsonTask.__init__

    def count() -> None:
        nonlocal calls
        calls += 1

    def beginning(self: Any, name: str, *rest: Any) -> None:
        starts.setdefault(name, calls)
        begin(self, name, *rest)

    _on_each_call(count)
    with patch.object(_JsonTask, "__init__", beginning):
        try:
            main()
        finally:
            log.with_suffix(".calls").write_text(json.dumps({**starts, "end": calls}))


def _on_each_call(count: Callable[[], None]) -> None:
    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_OURS):
            count()

    threading.setprofile(profile)
    sys.setprofile(profile)


def _arm(moment: Moment) -> None:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == moment.call:
            os.kill(os.getpid(), moment.by)

    if moment.function == "*":
        _on_each_call(count)
        return
    if moment.function is None:
        sys.addaudithook(lambda event, arguments: count() if _is_write(event, arguments) else None)
        return
    path, _, name = moment.function.rpartition(".")
    owner = pkgutil.resolve_name(path)
    original = getattr(owner, name)

    @functools.wraps(original)
    def stopping(*arguments: Any, **options: Any) -> Any:
        count()
        return original(*arguments, **options)

    setattr(owner, name, stopping)


def _is_write(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(arguments[1], str) and arguments[1][:1] in ("w", "x", "a")
    return event in _WRITES
