"""Sends images to a server, as browsers and well-behaved scripts do; measures nothing."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import aiohttp

from indexer.sources import Sample, open_source

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}
TIMEOUT = aiohttp.ClientTimeout(total=120)


class HttpAnswer(NamedTuple):
    """The answer to one POST; `retry_after_s` is None if the answer does not say."""

    status: int
    location: str
    retry_after_s: float | None


def read_images(source: Path, n: int) -> list[bytes]:
    """Returns the first `n` files of an image source, as they are. Raises `SystemExit` if there are fewer."""
    samples = (
        sample.image
        for shard in open_source(source).shards
        for sample in shard.samples()
        if isinstance(sample, Sample)
    )
    found = list(islice(samples, n))
    if len(found) < n:
        raise SystemExit(f"{source} has {len(found)} images; {n} are needed")
    return found


async def send(session: aiohttp.ClientSession, url: str, image: bytes) -> HttpAnswer:
    """Sends an image as a browser's form does."""
    form = aiohttp.FormData()
    form.add_field("image", image, filename="image", content_type="application/octet-stream")
    async with session.post(url, data=form, headers=BROWSER, allow_redirects=False) as answer:
        await answer.read()
        retry = answer.headers.get("Retry-After")
        location = answer.headers.get("Location", "")
        return HttpAnswer(answer.status, location, None if retry is None else float(retry))


async def get(session: aiohttp.ClientSession, url: str, *, accept: str = "text/html") -> bytes:
    """Returns the body. Raises `RuntimeError` for any answer but a 200."""
    async with session.get(url, headers={"Accept": accept}) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answers {answer.status}: {body[:200]!r}")
        return body


def shares(items: Sequence[bytes], n: int) -> list[list[bytes]]:
    """Deals the items out to `n` clients."""
    return [list(items[client::n]) for client in range(n)]
