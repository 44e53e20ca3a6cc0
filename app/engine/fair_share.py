"""Fair scheduling: clients that compete for the same places take turns.

A first-come queue gives a client with sixty connections sixty turns for each turn of everybody else. For one
event loop; knows nothing of HTTP except the refusal.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import TracebackType

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.engine.budget import TimeBudget
from app.web.client_address import current_client
from app.web.errors import ProblemError

Refuse = Callable[[Request, Exception], Awaitable[Response]]
"""Turns an error into an answer."""

WORK_S_PER_MINUTE, AT_ONCE_S = 15.0, 3.0
"""Work on pages for a client beside others, per minute and at once: a gallery with images takes 0.1 s."""
REQUEST_S = 0.002
"""The cost of any request before and after its turn."""
COOLDOWN_FACTOR, MIN_COOLDOWN_S, MAX_COOLDOWN_S = 3.0, 0.02, 1.0
OTHERS_S = 5.0
"""Another client counts as present for this long after its last request."""

_ALWAYS = ("/healthz", "/readyz", "/metrics")


class TooManyAtOnceError(ProblemError):
    def __init__(self, waiting: int, retry_s: int = 5) -> None:
        detail = f"{waiting} requests from your address are already waiting. Try again when they are done."
        super().__init__(429, "too_many_at_once", detail, {"Retry-After": str(retry_s)})


class FairLimiter:
    """Admits at most `total` at a time, and at most `per_client` of any one client; the others wait.

    As a context manager it counts for the client of the current request.
    """

    def __init__(self, total: int, per_client: int, *, max_waiting: int) -> None:
        """Sets the limits: `max_waiting` requests of one client may wait, and the next is refused."""
        self._total, self._per_client, self._max_waiting = total, per_client, max_waiting
        self._running = Counter[str]()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = (
            OrderedDict()
        )  # whose turn is next: first

    @property
    def n_running(self) -> int:
        return self._running.total()

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Holds a place for the client. Raises `TooManyAtOnceError`."""
        await self.acquire(client)
        try:
            yield
        finally:
            self.release(client)

    async def __aenter__(self) -> None:
        await self.acquire(current_client())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(current_client())

    async def acquire(self, client: str) -> None:
        """Waits for a place; each call that returns needs one `release`. Raises `TooManyAtOnceError`."""
        if client not in self._waiting and self._has_room(client):
            self._running[client] += 1
            return
        line = self._waiting.setdefault(client, deque())
        if len(line) >= self._max_waiting:
            raise TooManyAtOnceError(len(line))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(client, turn)
            raise

    def release(self, client: str) -> None:
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        self._start_waiting()

    def _has_room(self, client: str) -> bool:
        return self.n_running < self._total and self._running[client] < self._per_client

    def _start_waiting(self) -> None:
        while client := next((each for each in self._waiting if self._has_room(each)), None):
            line = self._waiting.pop(client)
            turn = line.popleft()
            if line:
                self._waiting[client] = line  # behind the others
            if not turn.done():  # else whoever waited has gone
                self._running[client] += 1
                turn.set_result(None)

    def _give_up(self, client: str, turn: "asyncio.Future[None]") -> None:
        """Leaves the line. If the turn came at the same moment, it goes to the next."""
        if turn.done() and not turn.cancelled():
            self.release(client)
            return
        line = self._waiting.get(client)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._waiting[client]


class RequestTurn:
    """One request's place among those being worked on. Once given back, it is not given back again."""

    def __init__(self, limiter: FairLimiter, client: str, cooldowns: "Cooldowns") -> None:
        self._limiter, self._client, self._cooldowns = limiter, client, cooldowns
        self.is_taken, self._taken_s = False, 0.0

    async def take(self) -> None:
        """Waits for a place. Raises `TooManyAtOnceError`."""
        await self._limiter.acquire(self._client)
        self.is_taken, self._taken_s = True, time.monotonic()

    def give_back(self) -> None:
        if not self.is_taken:
            return
        self.is_taken = False
        cooldown_s = self._cooldowns.seconds_after(self._client, time.monotonic() - self._taken_s)
        if cooldown_s:
            asyncio.get_running_loop().call_later(cooldown_s, self._limiter.release, self._client)
        else:
            self._limiter.release(self._client)


class Cooldowns:
    """Decides how long a place stays taken after a request of a client that keeps the server busy.

    Alone, a client is never held up. Beside others it may use `AT_ONCE_S` of work at once and
    `WORK_S_PER_MINUTE` after that. A client that uses more waits after each request three times as long as
    the request took, so that the processor is free for others' pages.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget, self._clock = TimeBudget(WORK_S_PER_MINUTE, clock, at_once_s=AT_ONCE_S), clock
        self._seen = OrderedDict[str, float]()  # the two clients that came last, and when

    def note_client(self, client: str) -> None:
        self._seen[client] = self._clock()
        self._seen.move_to_end(client)
        while len(self._seen) > 2:
            self._seen.popitem(last=False)

    def seconds_after(self, client: str, worked_s: float) -> float:
        """Returns the seconds that this client waits after a request: 0 when alone or within its budget."""
        self._budget.spend(client, worked_s + REQUEST_S)
        if self._is_alone(client) or self._budget.owed_s(client) is None:
            return 0.0
        return min(max(COOLDOWN_FACTOR * worked_s, MIN_COOLDOWN_S), MAX_COOLDOWN_S)

    def _is_alone(self, client: str) -> bool:
        since_s = self._clock() - OTHERS_S
        return not any(seen_s >= since_s for other, seen_s in self._seen.items() if other != client)


_turn: ContextVar[RequestTurn | None] = ContextVar("turn", default=None)


@asynccontextmanager
async def out_of_turn() -> AsyncIterator[None]:
    """Gives the turn to others during a wait for something with places of its own, such as the model."""
    turn = _turn.get()
    if turn is None or not turn.is_taken:
        yield
        return
    turn.give_back()
    yield
    await turn.take()


class FairTurns:
    """Works on a limited number of requests per client at a time; the others wait, and cost nothing.

    A request holds its place until its answer begins, so a slow reader holds none. A client that keeps the
    server busy while others come waits between its requests (`Cooldowns`). A POST waits for its sender, so it
    has other limits (`UploadPlaces`). Health checks and metrics are always answered.
    """

    def __init__(self, app: ASGIApp, turns: FairLimiter, refuse: Refuse) -> None:
        self.app, self.turns, self.refuse = app, turns, refuse
        self.cooldowns = Cooldowns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "POST" or scope["path"].endswith(_ALWAYS):
            await self.app(scope, receive, send)
            return
        turn = RequestTurn(self.turns, current_client(), self.cooldowns)
        self.cooldowns.note_client(current_client())

        async def sending(message: Message) -> None:
            turn.give_back()
            await send(message)

        try:
            await turn.take()
            _turn.set(turn)
            await self.app(scope, receive, sending)
        except TooManyAtOnceError as error:
            answer = await self.refuse(Request(scope), error)
            await answer(scope, receive, send)
        finally:
            turn.give_back()
