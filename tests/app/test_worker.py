"""The inference worker: bounded, batched, and alive after every failure."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.worker import BusyError, EncoderAbsentError, TooSlowError, Worker, scopeview_encoders
from tests.app.encoder import CROP_PX, FakeEncoder, factory_of

INDEX = Path("an-index")
CROP = np.full((3, CROP_PX, CROP_PX), 100, np.uint8)


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder(gate=threading.Event())


@pytest.fixture
def worker(encoder: FakeEncoder) -> Iterator[Worker]:
    worker = Worker(factory_of(encoder), bound=4, batch=3, deadline_s=30)
    worker.start()
    yield worker
    assert encoder.gate is not None
    encoder.gate.set()
    worker.stop()


def open_gate(encoder: FakeEncoder) -> None:
    assert encoder.gate is not None
    encoder.gate.set()


def test_pictures_that_wait_go_through_together(worker: Worker, encoder: FakeEncoder) -> None:
    waiting = [worker.submit(INDEX, CROP + at) for at in range(6)]
    open_gate(encoder)
    codes = [each.result(10) for each in waiting]
    assert max(encoder.batches) <= 3
    assert sum(encoder.batches) == 6
    assert len(encoder.batches) <= 4
    assert [code[0].features[0].feature for code in codes] == [(100 + at) % 6 for at in range(6)]


def test_pictures_of_different_indexes_do_not_mix(worker: Worker, encoder: FakeEncoder) -> None:
    waiting = [worker.submit(Path(f"index-{at % 2}"), CROP) for at in range(4)]
    open_gate(encoder)
    for each in waiting:
        each.result(10)
    assert encoder.batches == [1, 1, 1, 1]


def test_places_are_bounded_and_given_back(worker: Worker) -> None:
    with worker.place(), worker.place(), worker.place():
        with worker.place(), pytest.raises(BusyError), worker.place():
            pass
        with worker.place():
            pass


def test_a_job_past_its_deadline_is_not_run(encoder: FakeEncoder) -> None:
    worker = Worker(factory_of(encoder), bound=4, batch=3, deadline_s=0)
    waiting = worker.submit(INDEX, CROP)
    worker.start()
    with pytest.raises(TooSlowError):
        waiting.result(10)
    worker.stop()
    assert encoder.batches == []


def test_what_waits_at_the_end_is_refused(encoder: FakeEncoder) -> None:
    worker = Worker(factory_of(encoder), bound=4, batch=1, deadline_s=30)
    open_gate(encoder)
    done = worker.submit(INDEX, CROP)
    worker.start()
    done.result(10)
    worker.stop()
    late = worker.submit(INDEX, CROP)
    assert not late.done()


def test_a_failed_load_is_remembered_and_then_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[int]()

    def failing(_: Path) -> FakeEncoder:
        calls.append(1)
        raise ImportError("No module named 'torch'")

    worker = Worker(failing, bound=1, batch=1, deadline_s=1)
    for _ in range(3):
        with pytest.raises(EncoderAbsentError, match="not installed"):
            worker.encoder(INDEX)
    assert len(calls) == 1
    later = time.monotonic() + 61
    monkeypatch.setattr("app.worker.time.monotonic", lambda: later)
    with pytest.raises(EncoderAbsentError):
        worker.encoder(INDEX)
    assert len(calls) == 2


def test_switched_off_means_absent() -> None:
    worker = Worker(scopeview_encoders("off"), bound=1, batch=1, deadline_s=1)
    assert worker.why_absent(INDEX) == "the operator of this server has switched them off"
    with pytest.raises(EncoderAbsentError):
        worker.encoder(INDEX)
