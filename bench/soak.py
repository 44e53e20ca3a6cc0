"""How much memory a server takes over a long time: mixed visitors, then many uploads of one client.

A cache without a limit goes on growing in the second half; one with a limit is full by then.
"""

import asyncio
import io
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image

from app.urls import Urls
from bench.attacks import AttackTarget
from bench.measure import keep
from bench.servers import RunningServer, serving
from bench.uploads import wait_for_model
from bench.uploads_client import send
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES

N_VISITORS = 8
SAMPLE_S = 10.0
WITHOUT_LIMITS = {
    "SCOPEVIEW_ENCODER_LOAD": "start",
    "SCOPEVIEW_UPLOADS_PER_MINUTE": "0",
    "SCOPEVIEW_MODEL_SECONDS_PER_MINUTE": "0",
}
"""Lifts the rate limits of a client, so that more requests fit into the same time. Memory bounds stay."""


@dataclass(frozen=True)
class MemorySample:
    """The server's memory after some time, or some uploads; memory-mapped files are counted separately."""

    at: str
    own_mb: float
    mapped_mb: float


def main(index_dir: Path, *, seconds: float, n_uploads: int) -> None:
    """Prints samples as it goes, and keeps `soak.json`."""
    with IndexReader(index_dir) as reader:
        rows = reader.sql(
            "SELECT layer, token, feature FROM features WHERE n_active >= $n", {"n": MIN_GRID_IMAGES}
        )
        slug, n_images = reader.manifest.slug, reader.manifest.n_images
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scopeview", "serve", str(index_dir), "--device", "cpu"]
        command += ["--uploads", str(Path(folder) / "uploads")]
        with serving(command, "/readyz", Path(folder) / "log", WITHOUT_LIMITS, cores=(0, 1)) as server:
            wait_for_model(server)
            target = AttackTarget(server.base_url, slug, list(rows), n_images)
            mixed, statuses = asyncio.run(_visits(server, target, seconds))
            uploads = asyncio.run(_uploads(server, target, n_uploads))
    print("answers to the visitors:", dict(statuses))
    samples = {
        name: [asdict(each) for each in found] for name, found in (("mixed", mixed), ("uploads", uploads))
    }
    keep("soak", {"index": slug, **samples})


async def _visits(
    server: RunningServer, target: AttackTarget, seconds: float
) -> tuple[list[MemorySample], Counter[int]]:
    began, statuses = time.monotonic(), Counter[int]()
    found = [_sample(server, "start")]
    visitors = [asyncio.create_task(_visit(target, at, statuses)) for at in range(N_VISITORS)]
    while time.monotonic() - began < seconds:
        await asyncio.sleep(SAMPLE_S)
        found.append(_sample(server, f"{time.monotonic() - began:.0f} s, {statuses.total()} requests"))
    for visitor in visitors:
        visitor.cancel()
    await asyncio.gather(*visitors, return_exceptions=True)
    return found, statuses


async def _visit(target: AttackTarget, number: int, statuses: Counter[int]) -> None:
    """Acts as one person with an address of their own, who does everything that the site offers."""
    chance = random.Random(number)
    kinds = [target.page] * 6 + [
        target.activations,
        target.heat,
        target.search,
        target.steering,
        target.preview,
        target.points,
    ]
    connector = aiohttp.TCPConnector(local_addr=(f"127.0.0.{10 + number}", 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        while True:
            with suppress(aiohttp.ClientError):
                if chance.random() < 0.05:
                    statuses[(await send(session, target.uploads(), _image(chance.random()))).status] += 1
                    continue
                url = chance.choice(kinds)() if chance.random() < 0.5 else _thumb(target, chance)
                async with session.get(url) as answer:
                    await answer.read()
                    statuses[answer.status] += 1


def _thumb(target: AttackTarget, chance: random.Random) -> str:
    return target.base_url + Urls().thumb(target.slug, chance.randrange(target.n_images), "0")


async def _uploads(server: RunningServer, target: AttackTarget, n: int) -> list[MemorySample]:
    found = [_sample(server, "0 uploads")]
    every = max(n // 8, 1)
    async with aiohttp.ClientSession() as session:
        for number in range(1, n + 1):
            await send(session, target.uploads(), _image(number))
            if number % every == 0:
                found.append(_sample(server, f"{number} uploads"))
    return found


def _image(seed: float) -> bytes:
    """Returns a photograph's worth of noise: no two are alike, so that nothing is known already."""
    pixels = np.random.default_rng(int(seed * 1e9)).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((960, 640)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _sample(server: RunningServer, at: str) -> MemorySample:
    status = Path(f"/proc/{server.pid}/status").read_text()
    own_kb, mapped_kb = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) for name in ("RssAnon", "RssFile"))
    sample = MemorySample(at, own_kb / 1e3, mapped_kb / 1e3)
    print(f"{at}: {sample.own_mb:.0f} MB of its own, {sample.mapped_mb:.0f} MB of mapped files", flush=True)
    return sample
