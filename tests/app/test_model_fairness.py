"""The model's time among clients: in turn, within a budget, and nobody is refused for what others ask."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.engine.budget import BudgetSpentError, TimeBudget
from app.engine.fair_queue import FairQueue, Urgency
from app.engine.fair_share import TooManyAtOnceError
from app.engine.worker import MAX_WAITING_PER_CLIENT, EncodeRequest, Worker
from app.services import model_requests
from app.services.images import thumbnail_ref
from app.web.client_address import CURRENT
from tests.app.conftest import StartSite
from tests.app.encoder import CROP_PX, FakeEncoder, factory_of
from tests.clock import Clock

INDEX, ONE = Path("an-index"), EncodeRequest((3,))
CROP = np.full((3, CROP_PX, CROP_PX), 100, np.uint8)


def filled(*items: tuple[str, str, Urgency]) -> FairQueue[str]:
    queue = FairQueue[str]()
    for item, client, urgency in items:
        queue.put(item, client, urgency)
    return queue


def views(*names: str) -> list[tuple[str, str, Urgency]]:
    """The first letter is the client."""
    return [(name, name[0], Urgency.VIEW) for name in names]


def test_clients_take_turns_and_uploads_go_first() -> None:
    queue = filled(*views("a1", "a2", "a3", "b1", "c1", "b2"), ("d1", "d", Urgency.UPLOAD))
    assert [queue.take() for _ in range(7)] == ["d1", "a1", "b1", "c1", "a2", "b2", "a3"]
    assert queue.qsize() == 0


def test_what_goes_along_is_taken_of_all_clients_in_turn_and_stops_at_what_does_not() -> None:
    queue = filled(*views("a1", "a2", "bx", "b1", "c1", "c2"))
    assert queue.take_matching(lambda name: not name.endswith("x"), 3) == ["a1", "c1", "a2"]
    assert [queue.take() for _ in range(3)] == ["bx", "c2", "b1"]


def test_a_closed_queue_gives_nothing_and_is_drained() -> None:
    queue = filled(*views("a1", "b1"))
    queue.close()
    assert queue.take() is None
    assert queue.take_matching(lambda _: True, 5) == []
    assert queue.drain() == ["a1", "b1"]


def wait_s(budget: TimeBudget, client: str) -> int | None:
    try:
        budget.refuse_spent(client)
    except BudgetSpentError as error:
        return int(error.answer.headers["Retry-After"])
    return None


def test_a_budget_may_be_used_at_once_and_comes_back_in_a_minute() -> None:
    clock = Clock()
    budget = TimeBudget(30, clock)
    budget.spend("a", 29)
    assert wait_s(budget, "a") is None
    budget.spend("a", 6)
    assert (wait_s(budget, "a"), wait_s(budget, "b")) == (10, None)
    clock.now_s = 10
    assert wait_s(budget, "a") == 1
    clock.now_s = 10.1
    assert wait_s(budget, "a") is None
    clock.now_s = 1000
    budget.spend("a", 30)
    assert wait_s(budget, "a") == 1


def test_clients_whose_budget_is_whole_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.budget._MANY_CLIENTS", 10)
    clock = Clock()
    budget = TimeBudget(30, clock)
    for number in range(100):
        clock.now_s += 10
        budget.spend(f"{number}", 0.001)
    assert len(budget._left) <= 10


def test_zero_is_no_budget() -> None:
    budget = TimeBudget(0)
    budget.spend("a", 1e9)
    assert wait_s(budget, "a") is None


@pytest.fixture
def gated() -> FakeEncoder:
    return FakeEncoder(gate=threading.Event())


@pytest.fixture
def worker(gated: FakeEncoder) -> Iterator[Worker]:
    worker = Worker(factory_of(gated), bound=4, batch=1, deadline_s=30, budget=TimeBudget(30))
    worker.start()
    yield worker
    assert gated.gate is not None
    gated.gate.set()
    worker.stop()


def test_one_client_of_many_images_delays_another_by_one_and_is_refused_alone(
    worker: Worker, gated: FakeEncoder
) -> None:
    order = list[str]()
    CURRENT.set("many")
    waiting = [worker.submit(INDEX, "first", CROP, ONE)]
    while worker._jobs.qsize():  # until it is in hand
        threading.Event().wait(0.005)
    for number in range(MAX_WAITING_PER_CLIENT):
        waiting.append(worker.submit(INDEX, f"{number}", CROP, EncodeRequest((1,))))
        waiting[-1].add_done_callback(lambda _: order.append("many"))
    with pytest.raises(TooManyAtOnceError):
        worker.submit(INDEX, "one more", CROP, ONE)
    CURRENT.set("one")
    waiting.append(worker.submit(INDEX, "other", CROP, ONE))
    waiting[-1].add_done_callback(lambda _: order.append("one"))
    assert gated.gate is not None
    gated.gate.set()
    for each in waiting:
        each.result(30)
    assert order.index("one") <= 1
    assert worker.budget._left.keys() == {"many", "one"}
    CURRENT.set("unknown")


def test_views_go_along_with_uploads(
    gated: FakeEncoder,
) -> None:
    worker = Worker(factory_of(gated), bound=4, batch=8, deadline_s=30)
    assert gated.gate is not None
    gated.gate.set()
    worker._image_s = 1e9
    waiting = [worker.submit(INDEX, f"{at}", CROP, ONE, urgent=at < 3) for at in range(5)]
    worker.start()
    for each in waiting:
        each.result(30)
    worker.stop()
    assert gated.batches == [5]  # views go along with uploads


def test_where_the_model_is_slow_views_go_through_it_one_by_one(gated: FakeEncoder) -> None:
    worker = Worker(factory_of(gated), bound=4, batch=8, deadline_s=30)
    assert gated.gate is not None
    gated.gate.set()
    worker._image_s = 1e9
    waiting = [worker.submit(INDEX, f"{at}", CROP, ONE) for at in range(3)]
    worker.start()
    for each in waiting:
        each.result(30)
    worker.stop()
    assert gated.batches == [1, 1, 1]


def test_who_has_spent_its_budget_is_told_when_to_come_back_and_pages_go_on(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_requests, "REFUSAL_S", 0)
    site = start_site(model_seconds_per_minute=10)
    heat = "/api/v1/tiny/3/0/heat?images="
    assert site.get(f"{heat}1").status_code == 200
    budget: TimeBudget = site.app.state.site.worker.budget  # type: ignore[attr-defined]
    budget.spend("testclient", 15)
    answer = site.get(f"{heat}2")
    assert (answer.status_code, answer.json()["error"]) == (429, "too_much_model_time")
    assert int(answer.headers["retry-after"]) >= 25
    for address in (f"{heat}1", "/tiny/3/0", "/api/v1/tiny/search?q=3:0"):  # what is remembered costs nothing
        assert site.get(address).status_code == 200
    assert site.get("/api/v1/tiny/search?q=words").status_code == 429
    assert site.get("/api/v1/tiny/images/5/steering?layer=3&edit=0:1").status_code == 429


def test_requests_that_run_the_model_wait_for_those_of_the_same_client(
    start_site: StartSite, gated: FakeEncoder
) -> None:
    site = start_site(factory=factory_of(gated), model_requests_per_client=2)
    open_index = site.app.state.site.indexes["tiny"]  # type: ignore[attr-defined]
    state = site.app.state.site  # type: ignore[attr-defined]

    async def ask(client: str, image_id: int) -> None:
        CURRENT.set(client)
        image = thumbnail_ref(open_index, image_id)
        await model_requests.decompose(state, open_index, [image], ONE, site.app.state.decode_limiter)  # type: ignore[attr-defined]

    async def story() -> int:
        many = [asyncio.create_task(ask("many", image_id)) for image_id in range(10)]
        other = asyncio.create_task(ask("other", 20))
        while state.worker._jobs.qsize() + sum(gated.batches) < 3:  # a batch may hold two
            await asyncio.sleep(0.005)
        n_running: int = state.model_places.n_running
        assert gated.gate is not None
        gated.gate.set()
        await asyncio.gather(other, *many)
        return n_running

    assert site.portal is not None
    assert site.portal.call(story) == 3
    assert state.model_places.n_running == 0


def test_a_wait_for_the_model_ends_at_the_deadline(start_site: StartSite) -> None:
    site = start_site(model_requests_per_client=1, upload_deadline_s=0.05)
    state = site.app.state.site  # type: ignore[attr-defined]
    assert site.portal is not None
    site.portal.call(state.model_places.acquire, "testclient")
    answer = site.get("/api/v1/tiny/3/0/heat?images=1")
    assert (answer.status_code, answer.json()["error"]) == (503, "too_slow")
    site.portal.call(state.model_places.release, "testclient")
