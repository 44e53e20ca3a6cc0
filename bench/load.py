"""Requests against a server on this machine: at a fixed rate, or as fast as it answers.

At a fixed rate, a request's time counts from the moment at which it was due, not from when it could be sent:
a server that stalls makes every request behind it late, and all of that is counted (no coordinated omission).

Requests run on an event loop in a thread of their own, since the caller may have a running one, as notebooks
do. The client must not disturb its own figures: it collects no garbage meanwhile, and waits for each moment
awake, since timers are up to a millisecond late. The caller keeps off the server's core: see `serving`.
"""

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp
from anyio.from_thread import start_blocking_portal

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_AWAKE_S = 0.003
_HEADERS = {"Accept": "text/html", "Accept-Encoding": "gzip, deflate, br, zstd"}  # as browsers ask


class Load(NamedTuple):
    """The result of a load."""

    seconds: list[float]  # of each request
    per_s: float  # answers a second, over the whole of it
    n_bytes: int  # of all bodies as they came over the wire


def at_rate(base_url: str, paths: Sequence[str], per_s: float) -> Load:
    """Asks for each path once, one every 1 / per_s seconds whatever becomes of others. Raises on non-200."""
    with _undisturbed(), start_blocking_portal() as portal:
        return portal.call(_at_rate, base_url, paths, per_s)


def flat_out(base_url: str, paths: Sequence[str], at_once: int) -> Load:
    """Asks for each path once, `at_once` of them under way at any time. Raises on non-200."""
    with _undisturbed(), start_blocking_portal() as portal:
        return portal.call(_flat_out, base_url, paths, at_once)


async def _at_rate(base_url: str, paths: Sequence[str], per_s: float) -> Load:
    async with _session() as session:
        started = time.perf_counter() + 0.05
        due = [started + i / per_s for i in range(len(paths))]
        asked = [
            asyncio.create_task(_late(session, base_url + path, at))
            for path, at in zip(paths, due, strict=True)
        ]
        sizes = await asyncio.gather(*asked)
        seconds = [ended - at for (_, ended), at in zip(sizes, due, strict=True)]
        took_s = time.perf_counter() - started
    return Load(seconds, len(paths) / took_s, sum(size for size, _ in sizes))


async def _flat_out(base_url: str, paths: Sequence[str], at_once: int) -> Load:
    left = iter(paths)
    seconds: list[float] = []
    sizes: list[int] = []

    async def ask_on(session: aiohttp.ClientSession) -> None:
        for path in left:
            began = time.perf_counter()
            sizes.append(await _get(session, base_url + path))
            seconds.append(time.perf_counter() - began)

    async with _session() as session:
        started = time.perf_counter()
        await asyncio.gather(*(ask_on(session) for _ in range(at_once)))
        took_s = time.perf_counter() - started
    return Load(seconds, len(paths) / took_s, sum(sizes))


async def _late(session: aiohttp.ClientSession, url: str, due: float) -> tuple[int, float]:
    await asyncio.sleep(max(due - time.perf_counter() - _AWAKE_S, 0))
    while time.perf_counter() < due:
        await asyncio.sleep(0)
    size = await _get(session, url)
    return size, time.perf_counter()


async def _get(session: aiohttp.ClientSession, url: str) -> int:
    """Returns the bytes of the body as sent: to unpack them would be the client's work, not the server's."""
    async with session.get(url, allow_redirects=False) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answers {answer.status}: {body[:200]!r}")
        return len(body)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Stops garbage collection: to look through all that a benchmark has loaded takes 0.1 s."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(
        connector=connector, timeout=_TIMEOUT, headers=_HEADERS, auto_decompress=False
    )
