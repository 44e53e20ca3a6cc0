"""The inference worker: bounded, batched, and alive after every failure."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.engine.worker import (
    BusyError,
    DeviceFailedError,
    EncoderAbsentError,
    EncodeRequest,
    TooSlowError,
    Worker,
    scopeview_encoders,
)
from scopeview.analysis.decomposition import Decomposition
from tests.app.encoder import CROP_PX, FakeEncoder, factory_of
from tests.app.index import LAYERS

INDEX = Path("an-index")
CROP = np.full((3, CROP_PX, CROP_PX), 100, np.uint8)
ALL = EncodeRequest(tuple(LAYERS), embedding=True)
ONE = EncodeRequest((3,))


def feature(decomposed: Decomposition) -> int:
    """The one that fires highest: it tells the images apart."""
    return int(decomposed.layers[3].features[0, 0])


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


def test_images_that_wait_go_through_together(worker: Worker, encoder: FakeEncoder) -> None:
    waiting = [worker.submit(INDEX, f"{at}", CROP + at, ALL) for at in range(6)]
    open_gate(encoder)
    found = [each.result(10) for each in waiting]
    assert max(encoder.batches) <= 3
    assert sum(encoder.batches) == 6
    assert len(encoder.batches) <= 4
    assert [feature(decomposed) for decomposed in found] == [(100 + at) % 6 for at in range(6)]


def test_images_of_different_indexes_do_not_mix(worker: Worker, encoder: FakeEncoder) -> None:
    waiting = [worker.submit(Path(f"index-{at % 2}"), f"{at}", CROP, ALL) for at in range(4)]
    open_gate(encoder)
    for each in waiting:
        each.result(10)
    assert encoder.batches == [1, 1, 1, 1]


def test_an_image_that_waits_twice_is_looked_at_once(worker: Worker, encoder: FakeEncoder) -> None:
    first = worker.submit(INDEX, "first", CROP, ONE)  # keeps the worker busy while the others arrive
    waiting = [worker.submit(INDEX, "same", CROP, ONE) for _ in range(3)]
    open_gate(encoder)
    assert [each.result(10) for each in waiting] == [waiting[0].result()] * 3
    first.result(10)
    assert sum(encoder.batches) == 2


def test_what_is_known_of_an_image_is_not_worked_out_again(worker: Worker, encoder: FakeEncoder) -> None:
    open_gate(encoder)
    assert worker.known(INDEX, "a", ONE) is None
    worker.submit(INDEX, "a", CROP, ONE).result(10)
    assert worker.known(INDEX, "a", ONE) is not None
    assert worker.known(INDEX, "a", ALL) is None
    assert worker.known(Path("another"), "a", ONE) is None
    worker.submit(INDEX, "a", CROP, ALL).result(10)
    worker.submit(INDEX, "a", CROP, EncodeRequest((1,))).result(10)
    assert encoder.batches == [1, 1]


def _note(order: list[str], name: str, _: object) -> None:
    order.append(name)


def test_what_is_urgent_goes_first(worker: Worker, encoder: FakeEncoder) -> None:
    order = list[str]()
    first = worker.submit(INDEX, "first", CROP, ALL)
    while worker._jobs.qsize():  # until it is in hand
        threading.Event().wait(0.005)
    for name, urgent in (("patient", False), ("urgent", True)):
        waiting = worker.submit(INDEX, name, CROP, EncodeRequest((1,)) if urgent else ONE, urgent=urgent)
        waiting.add_done_callback(partial(_note, order, name))
    open_gate(encoder)
    first.result(10)
    worker.call(INDEX, lambda _: None).result(10)
    assert order == ["urgent", "patient"]


def test_more_than_may_wait_is_refused(encoder: FakeEncoder) -> None:
    worker = Worker(factory_of(encoder), bound=4, batch=3, deadline_s=30, max_waiting=2)
    for name in ("a", "b"):
        worker.submit(INDEX, name, CROP, ONE)
    with pytest.raises(BusyError):
        worker.submit(INDEX, "c", CROP, ONE)


def test_whoever_has_gone_is_not_worked_for(encoder: FakeEncoder) -> None:
    worker = Worker(factory_of(encoder), bound=4, batch=1, deadline_s=30)
    gone, stays = (worker.submit(INDEX, name, CROP, ONE) for name in ("gone", "stays"))
    gone.cancel()
    open_gate(encoder)
    worker.start()
    stays.result(10)
    worker.stop()
    assert encoder.batches == [1]


def test_anything_else_runs_with_the_encoder_in_the_workers_thread(
    worker: Worker, encoder: FakeEncoder
) -> None:
    asked = worker.call(INDEX, lambda given: (given is encoder, threading.current_thread().name))
    assert asked.result(10) == (True, "inference")
    with pytest.raises(ZeroDivisionError):
        worker.call(INDEX, lambda _: 1 / 0).result(10)


def test_a_device_that_fails_is_told_and_the_model_is_loaded_again() -> None:
    class Failing(FakeEncoder):
        def decompose(self, *_: object, **__: object) -> list[Decomposition]:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    loaded = [Failing(), FakeEncoder()]
    worker = Worker(lambda _: loaded.pop(0), bound=4, batch=3, deadline_s=30)
    worker.start()
    with pytest.raises(DeviceFailedError) as caught:
        worker.submit(INDEX, "a", CROP, ALL).result(10)
    assert caught.value.answer.headers["Retry-After"]
    assert worker.is_loaded(INDEX)
    assert feature(worker.submit(INDEX, "a", CROP, ALL).result(10)) == 100 % 6
    worker.stop()


def test_a_model_that_cannot_be_loaded_again_is_absent() -> None:
    loaded = list[FakeEncoder]([FakeEncoder()])

    def load(_: Path) -> FakeEncoder:
        if loaded:
            return loaded.pop()
        raise RuntimeError("no CUDA-capable device is detected")

    def fail(_: object) -> None:
        raise MemoryError

    worker = Worker(load, bound=4, batch=3, deadline_s=30)
    worker.start()
    with pytest.raises(DeviceFailedError):
        worker.call(INDEX, fail).result(10)
    with pytest.raises(EncoderAbsentError, match="could not be loaded"):
        worker.submit(INDEX, "a", CROP, ALL).result(10)
    assert not worker.is_loaded(INDEX)
    worker.stop()


def test_places_are_bounded_and_given_back(worker: Worker) -> None:
    with worker.place(), worker.place(), worker.place():
        with worker.place(), pytest.raises(BusyError), worker.place():
            pass
        with worker.place():
            pass


def test_a_job_past_its_deadline_is_not_run(encoder: FakeEncoder) -> None:
    worker = Worker(factory_of(encoder), bound=4, batch=3, deadline_s=0)
    waiting = worker.submit(INDEX, "a", CROP, ALL)
    worker.start()
    with pytest.raises(TooSlowError):
        waiting.result(10)
    worker.stop()
    assert encoder.batches == []


def test_what_waits_at_the_end_is_refused(encoder: FakeEncoder) -> None:
    worker = Worker(factory_of(encoder), bound=4, batch=1, deadline_s=30)
    open_gate(encoder)
    worker.start()
    worker.submit(INDEX, "a", CROP, ALL).result(10)
    assert encoder.gate is not None
    encoder.gate.clear()
    current = worker.submit(INDEX, "b", CROP, ALL)
    while worker._jobs.qsize():
        threading.Event().wait(0.005)
    waiting = worker.submit(INDEX, "c", CROP, ALL)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while worker._jobs.qsize() < 2:
        threading.Event().wait(0.005)
    open_gate(encoder)
    stopping.join()
    assert feature(current.result(10)) == 100 % 6
    with pytest.raises(TooSlowError):
        waiting.result(10)


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
    monkeypatch.setattr("app.engine.lazy_models.time.monotonic", lambda: later)
    with pytest.raises(EncoderAbsentError):
        worker.encoder(INDEX)
    assert len(calls) == 2


def test_switched_off_means_absent() -> None:
    worker = Worker(scopeview_encoders("off"), bound=1, batch=1, deadline_s=1)
    assert worker.unavailable_reason(INDEX) == "the operator of this server disabled the model"
    with pytest.raises(EncoderAbsentError):
        worker.encoder(INDEX)


def test_a_model_is_loaded_once_however_many_ask_for_it_at_once(encoder: FakeEncoder) -> None:
    loaded, waiting = list[Path](), threading.Barrier(8)

    def slowly(index_dir: Path) -> FakeEncoder:
        loaded.append(index_dir)
        threading.Event().wait(0.02)
        return encoder

    worker = Worker(slowly, bound=1, batch=1, deadline_s=1)

    def ask(_: int) -> bool:
        waiting.wait(10)
        return worker.encoder(INDEX) is encoder

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert loaded == [INDEX]


def test_what_is_remembered_waits_for_nobody(worker: Worker, encoder: FakeEncoder) -> None:
    open_gate(encoder)
    worker.submit(INDEX, "a", CROP, ALL).result(10)
    assert encoder.gate is not None
    encoder.gate.clear()
    worker.submit(INDEX, "b", CROP, ALL)  # keeps the worker busy
    assert worker.submit(INDEX, "a", CROP, ONE).done()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_nothing_that_is_raised_ends_the_worker(
    worker: Worker, encoder: FakeEncoder, error: type[BaseException]
) -> None:
    def raising(_: object) -> None:
        raise error

    open_gate(encoder)
    with pytest.raises(DeviceFailedError):
        worker.call(INDEX, raising).result(10)
    assert feature(worker.submit(INDEX, "a", CROP, ALL).result(10)) == 100 % 6


def test_a_thread_that_hangs_in_the_device_is_replaced_and_so_is_its_model() -> None:
    hung = FakeEncoder(gate=threading.Event())
    loaded = [hung, FakeEncoder()]
    worker = Worker(lambda _: loaded.pop(0), bound=4, batch=3, deadline_s=0.01, stalled_s=0)
    worker.start()
    stuck = worker.submit(INDEX, "a", CROP, ALL)
    while not hung.batches:
        threading.Event().wait(0.005)
    worker._deadline_s = 10  # those that come now have time
    while not worker._is_stalled():
        threading.Event().wait(0.005)
    assert feature(worker.submit(INDEX, "b", CROP, ALL).result(10)) == 100 % 6
    assert not loaded
    open_gate(hung)  # what hung comes back: its answer counts, and nothing else changes
    stuck.result(10)
    assert feature(worker.submit(INDEX, "c", CROP, ALL).result(10)) == 100 % 6
    assert worker.encoder(INDEX) is not hung
    worker.stop()


def test_a_thread_that_died_is_replaced(encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(factory_of(encoder), bound=4, batch=3, deadline_s=30)
    open_gate(encoder)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_run", lambda: None)
        worker.start()
    assert worker._thread is not None
    worker._thread.join()
    assert feature(worker.submit(INDEX, "a", CROP, ALL).result(10)) == 100 % 6
    worker.stop()
