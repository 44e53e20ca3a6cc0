"""Where the time of encode went: shares for the bar, seconds for the table."""

import json
import time
from collections.abc import Mapping

import pytest

from indexer.timing import DECODE_WAIT, DEVICE, WRITE_WAIT, Timing
from scopeview.progress import Task
from scopeview.timers import Stopwatch


class Shown(Task):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.figures = list[dict[str, str]]()

    def advance(self, n: int = 1) -> None: ...

    def expect(self, total: int) -> None: ...

    def note(self, figures: Mapping[str, object]) -> None: ...

    def show(self, figures: Mapping[str, str]) -> None:
        self.figures.append(dict(figures))


def test_the_bar_shows_shares_of_the_time_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    host, shown = Stopwatch(), Shown()
    timing = Timing(Stopwatch(), host)
    host.add(DEVICE, 3.0)
    host.add(DECODE_WAIT, 1.0)
    now = 100.5
    timing.tick(shown, 8)
    assert shown.figures == []  # not oftener than once a second
    now = 104.0
    timing.tick(shown, 8)
    assert shown.figures == [{"device": "75%", "decode wait": "25%", "write wait": "0%"}]


def test_the_closing_line_accounts_for_all_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    watch, host = Stopwatch(), Stopwatch()
    watch.add("CLIP", 50.0)  # of an earlier run
    timing = Timing(watch, host)
    timing.close()
    assert capsys.readouterr().err == ""  # nothing was done
    watch.add("CLIP", 6.0)
    watch.add("SAEs", 1.0)
    host.add(WRITE_WAIT, 0.5)
    host.add("decode", 4.0)
    now = 10.0
    timing.tick(Shown(), 20)
    timing.close()
    line = json.loads(capsys.readouterr().err)
    assert (line["wall_s"], line["images"]) == (10.0, 20)
    assert line["seconds"] == {
        "CLIP": 6.0,
        "SAEs": 1.0,
        DECODE_WAIT: 0.0,
        WRITE_WAIT: 0.5,
        "anything else": 2.5,
        "decode": 4.0,
    }
