"""Places that many clients want: each client in turn, however many requests it sends."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from app.engine.fair_share import (
    AT_ONCE_S,
    Cooldowns,
    FairLimiter,
    FairTurns,
    RequestTurn,
    TooManyAtOnceError,
    out_of_turn,
)
from app.web.client_address import CURRENT, current_client
from tests.clock import Clock
from tests.loops import on_a_loop


class Visitors:
    """Requests by client, in the order in which they are let in; each goes on when it is told to."""

    def __init__(self, limiter: FairLimiter) -> None:
        self.limiter, self.entered = limiter, list[str]()
        self._may_leave: list[asyncio.Event] = []
        self.tasks = list[asyncio.Task[None]]()

    def come(self, *clients: str) -> None:
        self.tasks += [asyncio.create_task(self._visit(client)) for client in clients]

    async def _visit(self, client: str) -> None:
        async with self.limiter.place(client):
            self.entered.append(client)
            leave = asyncio.Event()
            self._may_leave.append(leave)
            await leave.wait()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def one_leaves(self) -> None:
        await self.settle()
        self._may_leave.pop(0).set()
        await self.settle()

    async def all_leave(self) -> None:
        await self.settle()
        while self._may_leave:
            await self.one_leaves()


def run(total: int, per_client: int, story: Callable[[Visitors], Awaitable[None]]) -> list[str]:
    """Who was let in, in order."""

    async def told() -> list[str]:
        visitors = Visitors(FairLimiter(total, per_client, max_waiting=100))
        await story(visitors)
        await visitors.all_leave()
        assert visitors.limiter.n_running == 0
        return visitors.entered

    return on_a_loop(told)


def test_clients_take_turns() -> None:
    async def story(visitors: Visitors) -> None:
        visitors.come(*"aaaaaa", *"bb", "c")

    assert run(1, 1, story) == list("aabcabaaa")


def test_one_client_takes_no_more_than_its_own_places_though_others_are_free() -> None:
    async def story(visitors: Visitors) -> None:
        visitors.come(*"aaaa")
        await visitors.settle()
        assert visitors.entered == ["a", "a"]
        visitors.come("b")
        await visitors.settle()
        assert visitors.entered == ["a", "a", "b"]

    assert run(4, 2, story) == list("aabaa")


def test_whoever_leaves_the_line_is_passed_over() -> None:
    async def story(visitors: Visitors) -> None:
        visitors.come(*"abc")
        await visitors.settle()
        visitors.tasks[1].cancel()

    assert run(1, 1, story) == ["a", "c"]


def test_a_place_given_to_one_who_leaves_in_that_moment_goes_on() -> None:
    async def story(visitors: Visitors) -> None:
        visitors.come(*"abc")
        await visitors.settle()
        visitors._may_leave.pop(0).set()
        await asyncio.sleep(0)  # `a` has given its place to `b`, who has not heard of it
        visitors.tasks[1].cancel()
        await visitors.settle()

    assert run(1, 1, story) == ["a", "c"]


def test_too_long_a_line_of_one_client_is_refused_and_of_that_client_alone() -> None:
    async def story() -> None:
        limiter = FairLimiter(1, 1, max_waiting=2)
        await limiter.acquire("a")
        waiting = [asyncio.create_task(limiter.acquire(client)) for client in "aab"]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAtOnceError) as caught:
            await limiter.acquire("a")
        assert (caught.value.answer.status, caught.value.answer.headers["Retry-After"]) == (429, "5")
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        limiter.release("a")
        await limiter.acquire("b")
        limiter.release("b")

    on_a_loop(story)


class Pages:
    """An application whose answers begin, and end, when it is told to."""

    def __init__(self, *, waits_elsewhere: bool = False) -> None:
        self.begun, self.may_begin, self.may_end = list[str](), asyncio.Event(), asyncio.Event()
        self.waits_elsewhere = waits_elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self.begun.append(current_client())
        if self.waits_elsewhere:
            async with out_of_turn():
                await self.may_begin.wait()
        await self.may_begin.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.may_end.wait()


async def refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return PlainTextResponse(str(error), 429)


async def ask(app: FairTurns, client: str, path: str = "/", method: str = "GET") -> list[int]:
    statuses = list[int]()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request"}

    CURRENT.set(client)
    await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    return statuses


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def test_a_client_of_many_connections_waits_behind_itself() -> None:
    async def story() -> None:
        pages = Pages()
        app = FairTurns(pages, FairLimiter(16, 2, max_waiting=10), refused)
        tasks = [asyncio.create_task(ask(app, client)) for client in "aaaaab"]
        await settle()
        assert pages.begun == ["a", "a", "b"]
        tasks += [asyncio.create_task(ask(app, "a", *request)) for request in (("/readyz",), ("/", "POST"))]
        await settle()
        assert pages.begun == ["a", "a", "b", "a", "a"]
        pages.may_begin.set()
        await settle()  # an answer that has begun keeps no place, however slowly it is read
        assert len(pages.begun) == 8
        pages.may_end.set()
        assert await asyncio.gather(*tasks) == [[200]] * 8

    on_a_loop(story)


def test_whoever_waits_for_the_model_keeps_no_turn_meanwhile() -> None:
    async def story() -> None:
        pages = Pages(waits_elsewhere=True)
        turns = FairLimiter(16, 1, max_waiting=10)
        tasks = [asyncio.create_task(ask(FairTurns(pages, turns, refused), "a")) for _ in range(3)]
        await settle()
        assert (pages.begun, turns.n_running) == (["a"] * 3, 0)
        pages.may_begin.set()
        pages.may_end.set()
        assert await asyncio.gather(*tasks) == [[200]] * 3
        assert turns.n_running == 0

    on_a_loop(story)


def test_more_than_may_wait_are_refused() -> None:
    async def story() -> None:
        pages = Pages()
        app = FairTurns(pages, FairLimiter(16, 1, max_waiting=1), refused)
        tasks = [asyncio.create_task(ask(app, "a")) for _ in range(2)]
        await settle()
        assert await ask(app, "a") == [429]
        pages.may_begin.set()
        pages.may_end.set()
        assert await asyncio.gather(*tasks) == [[200]] * 2

    on_a_loop(story)


def busy(cooldowns: Cooldowns, clock: Clock, *others: str) -> list[float]:
    """The cooldowns of client `a` after each of its requests, which take 0.2 s and come one after another."""
    found = []
    for _ in range(30):
        clock.now_s += 0.2
        for client in ("a", *others):
            cooldowns.note_client(client)
        found.append(cooldowns.seconds_after("a", 0.2))
    return found


def test_a_client_that_is_alone_never_rests() -> None:
    clock = Clock()
    assert busy(Cooldowns(clock), clock) == [0.0] * 30


def test_beside_others_a_busy_client_rests_after_what_it_may_use_at_once() -> None:
    clock = Clock()
    cooldowns = busy(Cooldowns(clock), clock, "b")
    n_free = next(n for n, cooldown_s in enumerate(cooldowns) if cooldown_s)
    assert cooldowns == [0.0] * n_free + [pytest.approx(0.6)] * (30 - n_free)
    assert AT_ONCE_S <= 0.202 * (n_free + 1) < 1.5 * AT_ONCE_S  # some of it came back meanwhile


def test_a_client_that_asks_now_and_then_never_rests() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    for _ in range(100):
        clock.now_s += 1.0
        cooldowns.note_client("a")
        cooldowns.note_client("b")
        assert cooldowns.seconds_after("a", 0.1) == 0.0


def test_a_place_stays_taken_while_its_client_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cooldowns, "seconds_after", lambda *_: 0.05)

    async def told() -> tuple[bool, bool]:
        limiter = FairLimiter(4, 1, max_waiting=10)
        turn = RequestTurn(limiter, "a", Cooldowns())
        await turn.take()
        turn.give_back()
        second = asyncio.create_task(limiter.acquire("a"))
        await asyncio.sleep(0)
        waits = not second.done()
        await asyncio.wait_for(second, 5)
        return waits, second.done()

    assert on_a_loop(told) == (True, True)
