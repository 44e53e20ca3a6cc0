"""`.npy` files are opened from many threads, and Python 3.11 counts its parser's depth over all of them."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scopeview.store.npy import open_npy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "seven.npy", np.arange(7))
    return tmp_path / "seven.npy"


def test_one_header_is_read_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading: list[Path] = []
    most: list[int] = []
    load = np.load

    def slow_load(path: Path, **how: Any) -> object:
        reading.append(path)
        time.sleep(0.01)
        most.append(len(reading))
        reading.remove(path)
        return load(path, **how)

    monkeypatch.setattr(np, "load", slow_load)
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda _: int(open_npy(path).sum()), range(12)))
    assert sums == [21] * 12
    assert most == [1] * 12


def test_what_is_opened_cannot_be_changed(path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_npy(path)[0] = 1
