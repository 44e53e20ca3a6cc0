"""One client against another: attacks on the site or its model, and what another visitor notices of them.

The server has its own limits; the attacker is at 127.0.0.2 and the visitor at 127.0.0.1. The visitor asks for
pages and activations on an idle server before each attack, and for others while it lasts. Every attack is
limited in time and ends by itself. The attacker is a process of the lowest priority: on the open web, its own
work would take none of the server's cores.
"""

import asyncio
import io
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image
from rich.console import Console
from rich.table import Table

from app.urls import Urls
from bench.measure import Budget, keep, percentiles
from bench.servers import RunningServer, serving
from bench.uploads import wait_for_model
from bench.uploads_client import BROWSER
from scopeview.slots import EMBED
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES

ATTACKER, VISITOR = "127.0.0.2", "127.0.0.1"
PAGES_PER_ACTIVATION = 4
MIN_ACTIVATIONS = 5
PAUSE_S = 0.05
SETTLE_S = 2.0
_END_S = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass
class Visit:
    """The visitor's measurements."""

    page_s: list[float] = field(default_factory=list)
    activation_s: list[float] = field(default_factory=list)
    refused: int = 0  # answers that are no success

    def medians_ms(self) -> tuple[float, float]:
        return percentiles(self.page_s).median_ms, percentiles(self.activation_s).median_ms


@dataclass(frozen=True)
class AttackFound:
    """One attack; times are medians."""

    name: str
    statuses: dict[str, int]  # what the attacker was answered
    idle_page_ms: float
    page_ms: float
    idle_activation_ms: float
    activation_ms: float
    refused: int  # of the visitor's requests
    memory_mb: float  # by which the server grew

    def budgets(self) -> Iterator[Budget]:
        yield Budget(f"{self.name}: a page", self.page_ms / self.idle_page_ms, 2, "x idle")
        times = self.activation_ms / self.idle_activation_ms
        yield Budget(f"{self.name}: activations", times, 3, "x idle")
        yield Budget(f"{self.name}: others refused", self.refused, 0, "")


@dataclass
class AttackTarget:
    """Addresses of one index, without end and hardly ever one twice."""

    base_url: str
    slug: str
    features: list[tuple[str, str, int]]  # layer, token, feature
    n_images: int
    seed: int = 0

    def __post_init__(self) -> None:
        self.picked, self.number = random.Random(self.seed), count()

    def _url(self, path: str) -> str:
        return self.base_url + path

    def page(self) -> str:
        layer, token, feature = self.picked.choice(self.features)
        return self._url(Urls().feature(self.slug, layer, feature, token))  # type: ignore[arg-type]

    def activations(self) -> str:
        layer = self._block()[0]
        return self._url(
            Urls().image_part(self.slug, self._image(), "activations", api=True, layer=layer, tokens="any")
        )

    def heat(self) -> str:
        layer, feature = self._block()
        images = ",".join(str(self._image()) for _ in range(24))
        return self._url(Urls().heat(self.slug, layer, feature, images=images))  # type: ignore[arg-type]

    def search(self) -> str:
        return self._url(Urls().search(self.slug, api=True, q=f"words {next(self.number)}"))

    def steering(self) -> str:
        layer, feature = self._block()
        query = {"layer": layer, "edit": f"{feature}:1"}
        return self._url(Urls().image_part(self.slug, self._image(), "steering", api=True, **query))

    def preview(self) -> str:
        layer, token, feature = self.picked.choice(self.features)
        return self._url(Urls().feature_preview(self.slug, layer, feature, token, "0"))  # type: ignore[arg-type]

    def points(self) -> str:
        layer = self._block()[0]
        return self._url(Urls().points(self.slug, layer))  # type: ignore[arg-type]

    def uploads(self) -> str:
        return self._url(Urls().uploads(self.slug))

    def _image(self) -> int:
        return self.picked.randrange(self.n_images)

    def _block(self) -> tuple[str, int]:
        layer, _, feature = self.picked.choice([each for each in self.features if each[0] != EMBED])
        return layer, feature


Attack = Callable[[aiohttp.ClientSession, AttackTarget, Counter[str]], Coroutine[Any, Any, None]]


def main(index_dir: Path, *, seconds: float, only: str = "") -> None:
    """Prints a table, and keeps `attacks.json` if all attacks were made."""
    with IndexReader(index_dir) as reader, _served(index_dir) as server:
        rows = reader.sql(
            "SELECT layer, token, feature FROM features WHERE n_active >= $n", {"n": MIN_GRID_IMAGES}
        )
        target = AttackTarget(server.base_url, reader.manifest.slug, list(rows), reader.manifest.n_images)
        found = [_run(name, server, target, seconds) for name in ATTACKS if only in name]
    table = Table("", "found", "bound", title=f"attacks of {seconds:g} s on {target.slug}")
    for each in found:
        for budget in each.budgets():
            table.add_row(budget.name, *budget.cells())
    Console(width=110).print(table)
    memory = Table("", "memory", "answers to the attacker")
    for each in found:
        memory.add_row(each.name, f"{each.memory_mb:+.0f} MB", str(each.statuses))
    Console(width=110).print(memory)
    if not only:
        keep(
            "attacks", {"index": target.slug, "seconds": seconds, "attacks": [asdict(each) for each in found]}
        )


@contextmanager
def _served(index_dir: Path) -> Iterator[RunningServer]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scopeview", "serve", str(index_dir), "--device", "cpu"]
        words = [*command, "--uploads", str(Path(folder) / "uploads")]
        environment = {"SCOPEVIEW_ENCODER_LOAD": "start"}
        with serving(
            words, "/readyz", Path(folder) / "log", environment, cores=range(os.cpu_count() or 1)
        ) as server:
            wait_for_model(server)
            yield server


def _run(name: str, server: RunningServer, target: AttackTarget, seconds: float) -> AttackFound:
    before_gb = server.resident_gb
    idle = asyncio.run(_visit(target, seconds))
    with _attacking(name, target) as end:
        time.sleep(SETTLE_S)
        during = asyncio.run(_visit(target, seconds))
        statuses = end()
    time.sleep(SETTLE_S)
    (idle_page_ms, idle_activation_ms), (page_ms, activation_ms) = idle.medians_ms(), during.medians_ms()
    print(f"{name}: page {idle_page_ms:.0f} -> {page_ms:.0f} ms,", end=" ")
    print(f"activations {idle_activation_ms:.0f} -> {activation_ms:.0f} ms, {statuses}", flush=True)
    grown_mb = 1e3 * (server.resident_gb - before_gb)
    return AttackFound(
        name,
        statuses,
        idle_page_ms,
        page_ms,
        idle_activation_ms,
        activation_ms,
        idle.refused + during.refused,
        grown_mb,
    )


@contextmanager
def _attacking(name: str, target: AttackTarget) -> Iterator[Callable[[], dict[str, int]]]:
    """Attacks from another process; yields a function that ends this and returns the answers by status."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_attack, args=(name, target, theirs), daemon=True)
    process.start()
    try:
        ours.recv()  # it has begun

        def end() -> dict[str, int]:
            ours.send("end")
            return dict(ours.recv()) if ours.poll(_END_S) else {}

        yield end
    finally:
        process.kill()
        process.join()


def _attack(name: str, target: AttackTarget, pipe: Connection) -> None:
    """Runs the attack `name` in another process until a message comes; then sends its answers by status."""
    os.nice(19)
    asyncio.run(_attack_until_told(name, target, pipe))


async def _attack_until_told(name: str, target: AttackTarget, pipe: Connection) -> None:
    at_once, attack = ATTACKS[name]
    statuses = Counter[str]()
    async with _session(ATTACKER) as session:
        attacking = [asyncio.create_task(attack(session, target, statuses)) for _ in range(at_once)]
        pipe.send("begun")
        while not pipe.poll():
            await asyncio.sleep(0.1)
        pipe.send(dict(statuses))
        for task in attacking:
            task.cancel()
        await asyncio.gather(*attacking, return_exceptions=True)


async def _visit(target: AttackTarget, seconds: float) -> Visit:
    """Acts as a person who does not stop: pages one after another, activations now and then."""
    visit, until = Visit(), time.monotonic() + seconds
    async with _session(VISITOR) as session:
        for number in count():
            if time.monotonic() > until and len(visit.activation_s) >= MIN_ACTIVATIONS:
                break
            is_page = number % (PAGES_PER_ACTIVATION + 1) > 0
            url = target.page() if is_page else target.activations()
            began = time.perf_counter()
            async with session.get(url) as answer:
                await answer.read()
            (visit.page_s if is_page else visit.activation_s).append(time.perf_counter() - began)
            visit.refused += answer.status != 200
            await asyncio.sleep(PAUSE_S)
    return visit


def _session(address: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    return aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)


def _loop(address_of: Callable[[AttackTarget], str], headers: Callable[[], dict[str, str]] = dict) -> Attack:
    """Asks again and again, whatever the answer."""

    async def attack(session: aiohttp.ClientSession, target: AttackTarget, statuses: Counter[str]) -> None:
        while True:
            try:
                async with session.get(address_of(target), headers=headers()) as answer:
                    await answer.read()
                statuses[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                statuses[type(error).__name__] += 1
                await asyncio.sleep(0.1)

    return attack


def _long_headers() -> dict[str, str]:
    return {name: random.randbytes(3800).hex() for name in ("HX-Target", "HX-Boosted", "X-Any")}


def _large_header() -> dict[str, str]:
    return {"X-Any": "x" * 50_000_000}


async def _send_slowly(session: aiohttp.ClientSession, target: AttackTarget, statuses: Counter[str]) -> None:
    """Sends a byte of a form every few seconds."""

    async def form() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        while True:
            await asyncio.sleep(4)
            yield b"x"

    await _send(session, target, statuses, form)


def _bomb() -> bytes:
    """Returns a JPEG of 49 megapixels whose last scan comes 8,000 times: 0.8 MB."""
    buffer = io.BytesIO()
    Image.new("L", (7000, 7000), 128).save(buffer, "JPEG", progressive=True)
    made = buffer.getvalue()
    last, end = made.rindex(b"\xff\xda"), made.rindex(b"\xff\xd9")
    return made[:end] + made[last:end] * 8000 + made[end:]


def _large_image() -> bytes:
    """Returns an honest image that takes as long to decode as any that is accepted."""
    buffer = io.BytesIO()
    Image.effect_noise((7000, 7000), 40).save(buffer, "JPEG", progressive=True, quality=30)
    return buffer.getvalue()


def _upload(image: Callable[[], bytes]) -> Attack:
    """Sends an image again and again, and leaves now and then before the answer."""
    made = list[bytes]()

    async def attack(session: aiohttp.ClientSession, target: AttackTarget, statuses: Counter[str]) -> None:
        if not made:
            made.append(image())
        boundary = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        while True:
            await _send(session, target, statuses, lambda: boundary + made[0] + b"\r\n--x--\r\n")

    return attack


async def _send(
    session: aiohttp.ClientSession, target: AttackTarget, statuses: Counter[str], body: Callable[[], object]
) -> None:
    headers = {**BROWSER, "Content-Type": "multipart/form-data; boundary=x"}
    try:
        async with session.post(
            target.uploads(), data=body(), headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
        statuses[str(answer.status)] += 1
    except (aiohttp.ClientError, TimeoutError) as error:
        statuses[type(error).__name__] += 1
    await asyncio.sleep(0.1)


ATTACKS: dict[str, tuple[int, Attack]] = {
    "16 loops of 24 heatmaps": (16, _loop(AttackTarget.heat)),
    "32 loops of new search words": (32, _loop(AttackTarget.search)),
    "16 loops of steering": (16, _loop(AttackTarget.steering)),
    "60 loops of previews": (60, _loop(AttackTarget.preview)),
    "32 loops of points": (32, _loop(AttackTarget.points)),
    "8 loops of 23 KB of header fields": (8, _loop(AttackTarget.page, _long_headers)),
    "2 loops of a header field of 50 MB": (2, _loop(AttackTarget.page, _large_header)),
    "4 loops of JPEG scan bombs": (4, _upload(_bomb)),
    "4 loops of large images": (4, _upload(_large_image)),
    "16 slow senders": (16, _send_slowly),
}
