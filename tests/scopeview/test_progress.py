"""Progress: JSON lines where nobody looks, a bar where somebody does, and nothing on standard output."""

import io
import json
from contextlib import redirect_stderr
from types import SimpleNamespace
from typing import Any

import pytest

from scopeview import progress
from scopeview.progress import task
from tests.clock import Clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_the_first_line_comes_at_once_and_the_last_at_the_end(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with task("encode", 8, "images") as work:
        assert lines(capsys) == [
            {
                "task": "encode",
                "done": 0,
                "total": 8,
                "unit": "images",
                "elapsed_s": 0.0,
                "per_s": 0.0,
                "eta_s": None,
            }
        ]
        work.advance(3)
        clock.now_s += 6
        work.advance(3)
        assert lines(capsys) == []
    (last,) = lines(capsys)
    assert (last["done"], last["elapsed_s"], last["per_s"], last["eta_s"]) == (6, 6.0, 1.0, 2.0)


def test_a_line_comes_every_ten_seconds(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with task("encode", 100, "images") as work:
        for _ in range(25):
            clock.now_s += 1
            work.advance()
    assert [line["done"] for line in lines(capsys)] == [0, 10, 20, 25]


def test_what_an_earlier_run_did_counts_as_done_but_not_for_the_rate(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with task("encode", 100, "images", done=90) as work:
        clock.now_s += 2
        work.advance(4)
    first, last = lines(capsys)
    assert (first["done"], first["per_s"]) == (90, 0.0)
    assert (last["done"], last["per_s"], last["eta_s"]) == (94, 2.0, 3.0)


def test_a_total_may_be_learnt_on_the_way(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with task("encode", None, "images") as work:
        clock.now_s += 1
        work.advance(5)
        work.expect(15)
    first, last = lines(capsys)
    assert (first["total"], first["eta_s"]) == (None, None)
    assert (last["total"], last["eta_s"]) == (15, 2.0)


def test_work_that_fails_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    def fail_after_two() -> None:
        with task("build", 5, "slots") as work:
            work.advance(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_two()
    assert [line["done"] for line in lines(capsys)] == [0, 2]


def test_a_terminal_gets_a_bar_with_a_rate(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    with redirect_stderr(terminal), task("encode", None, "images", done=10) as work:
        work.expect(50)
        work.advance(40)
    shown = terminal.getvalue()
    assert "encode" in shown
    assert "50/50" in shown
    assert "images/s" in shown
    assert "{" not in shown
    assert capsys.readouterr().out == ""


def test_a_bar_is_one_line_on_a_narrow_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    with redirect_stderr(terminal), task("encode", 50, "images") as work:
        work.advance(50)
    assert terminal.getvalue().count("\n") == 1


def test_the_cursor_comes_back_when_the_work_fails(terminal: Terminal) -> None:
    def fail() -> None:
        with redirect_stderr(terminal), task("encode", 50, "images"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    shown = terminal.getvalue()
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
