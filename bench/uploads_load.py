"""Many uploads at once: is every one answered, does memory stay flat, and do pages stay fast meanwhile?

Each client sends its images one after another and comes back when the server says so (`Retry-After`), until
every image is taken. Meanwhile pages are asked for at a fixed rate, each a different one. The server has been
browsed for a while before, so that its start is not measured.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
from anyio.from_thread import start_blocking_portal

from app.params.dependencies import PAGE_SIZE
from app.urls import Urls
from bench.measure import Budget, Percentiles, percentiles
from bench.servers import RunningServer
from bench.uploads_client import TIMEOUT, get, send, shares
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES, SORTS

N_UPLOADS, N_CLIENTS, SETTLED = 200, 20, 50
PAGES_PER_S = 10.0
BROWSED_S = 10.0
_MAX_TRIES = 100


@dataclass(frozen=True)
class LoadFound:
    """The outcome of the uploads, and of the page views meanwhile."""

    n_uploads: int
    statuses: dict[str, int]  # of all answers, refusals included
    without_retry_after: int  # refusals that do not say when to come back
    lost: int  # images that were never taken, or whose page is not there afterwards
    total_s: float
    upload: Percentiles  # of those that were taken: from sending to the answer
    page: Percentiles  # from when the page was due
    n_pages: int
    settled_gb: float  # the most that was resident until `SETTLED` uploads were taken
    peak_gb: float  # the most from then on

    def budgets(self) -> Iterator[Budget]:
        other = sum(n for status, n in self.statuses.items() if status not in ("303", "429", "503"))
        yield Budget(
            "answers that are none of 303 (taken), 429, 503", other + self.without_retry_after, 0, ""
        )
        yield Budget("uploads lost", self.lost, 0, "")
        yield Budget("memory after the first 50", 1e3 * (self.peak_gb - self.settled_gb), 200, "MB")
        yield Budget("pages meanwhile, p99", self.page.p99_ms, 100, "ms")


@dataclass
class _Seen:
    statuses: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    taken: list[str] = field(default_factory=list)  # where each image's page is
    upload_s: list[float] = field(default_factory=list)
    page_s: list[float] = field(default_factory=list)
    settled_gb: float = 0.0
    peak_gb: float = 0.0


def load(server: RunningServer, reader: IndexReader, images: Sequence[bytes]) -> LoadFound:
    """Sends all the images."""
    with start_blocking_portal() as portal:
        return portal.call(_load, server, _page_paths(reader), reader.manifest.slug, images)


async def _load(server: RunningServer, paths: Iterator[str], slug: str, images: Sequence[bytes]) -> LoadFound:
    seen = _Seen()
    url = server.base_url + Urls().uploads(slug)
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        await _browse(session, server, paths)
        started = time.perf_counter()
        async with _meanwhile(_pages(session, server, paths, seen), _memory(server, seen)):
            await asyncio.gather(*(_client(session, url, mine, seen) for mine in shares(images, N_CLIENTS)))
        total_s = time.perf_counter() - started
        there = await _count_there(session, server, seen.taken)
    return LoadFound(
        n_uploads=len(images),
        statuses=dict(seen.statuses),
        without_retry_after=seen.without_retry_after,
        lost=len(images) - there,
        total_s=total_s,
        upload=percentiles(seen.upload_s),
        page=percentiles(seen.page_s),
        n_pages=len(seen.page_s),
        settled_gb=seen.settled_gb,
        peak_gb=seen.peak_gb,
    )


async def _browse(session: aiohttp.ClientSession, server: RunningServer, paths: Iterator[str]) -> None:
    until = time.perf_counter() + BROWSED_S
    for path in paths:
        await get(session, server.base_url + path)
        if time.perf_counter() > until:
            return


async def _client(session: aiohttp.ClientSession, url: str, images: Sequence[bytes], seen: _Seen) -> None:
    for image in images:
        for _ in range(_MAX_TRIES):
            began = time.perf_counter()
            answer = await send(session, url, image)
            seen.statuses[str(answer.status)] += 1
            if answer.location:
                seen.taken.append(answer.location)
                seen.upload_s.append(time.perf_counter() - began)
                if len(seen.taken) == SETTLED:
                    seen.settled_gb, seen.peak_gb = seen.peak_gb, 0.0
                break
            if answer.retry_after_s is None:
                seen.without_retry_after += 1
                break
            await asyncio.sleep(answer.retry_after_s)


async def _pages(
    session: aiohttp.ClientSession, server: RunningServer, paths: Iterator[str], seen: _Seen
) -> None:
    """Asks for pages until it is cancelled; what is under way then is still counted."""
    started, under_way = time.perf_counter(), set[asyncio.Task[None]]()
    try:
        for number, path in zip(count(), paths, strict=False):
            due = started + number / PAGES_PER_S
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            under_way.add(asyncio.create_task(_page(session, server.base_url + path, due, seen)))
    finally:
        await asyncio.shield(asyncio.gather(*under_way))


async def _page(session: aiohttp.ClientSession, url: str, due: float, seen: _Seen) -> None:
    await get(session, url)
    seen.page_s.append(time.perf_counter() - due)


async def _memory(server: RunningServer, seen: _Seen) -> None:
    while True:
        seen.peak_gb = max(seen.peak_gb, server.resident_gb)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _meanwhile(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _count_there(
    session: aiohttp.ClientSession, server: RunningServer, locations: Sequence[str]
) -> int:
    there = 0
    for location in set(locations):
        async with session.get(server.base_url + location) as answer:
            there += answer.status == 200
    return there


def _page_paths(reader: IndexReader) -> Iterator[str]:
    """Yields pages of galleries, features and images, without end; hardly ever one twice."""
    picked, urls, slug = random.Random(0), Urls(), reader.manifest.slug
    rows = reader.sql(
        "SELECT layer, token, feature FROM features WHERE n_active >= $n", {"n": MIN_GRID_IMAGES}
    )
    n_active = Counter((layer, token) for layer, token, _ in rows)
    while True:
        layer, token, feature = picked.choice(rows)
        page = picked.randint(1, -(-n_active[layer, token] // PAGE_SIZE))
        yield urls.feature(slug, layer, feature, token)
        yield urls.image(slug, picked.randrange(reader.manifest.n_images))
        yield urls.gallery(slug, layer, token=token, sort=picked.choice(SORTS), page=page)
