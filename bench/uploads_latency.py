"""One visitor: the time from sending an image to its page, and from one view of it to the next.

Each image is a new one, so that nothing is remembered; the views of one image differ in layer, in patch and
in the feature whose heatmap is shown, in turn. Times are those of whole pages over HTTP, from the first byte
sent to the last one read.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from anyio.from_thread import start_blocking_portal

from app.urls import ImagePart, Urls
from bench.measure import Percentiles, percentiles
from bench.servers import RunningServer
from bench.uploads_client import TIMEOUT, get, send
from scopeview.slots import EMBED, Layer
from scopeview.store.manifest import Manifest

N_VIEWS = 24
_SETTLED = 3  # images before it counts: the model is loaded, memory is touched
_JSON = "application/json"


@dataclass(frozen=True)
class LatencyFound:
    """The latency of single visits."""

    n_images: int
    upload: Percentiles  # from sending to the answer
    upload_to_page: Percentiles  # to the end of the page that it leads to
    view: Percentiles  # the page of another patch, layer or feature
    view_kb: float  # on average
    groups: Percentiles  # as JSON, of all tokens
    steering: Percentiles  # as JSON, one feature set to 0: the network runs once more, and its rest again
    resident_gb: float


def visit(server: RunningServer, manifest: Manifest, images: Sequence[bytes]) -> LatencyFound:
    """Measures one image after another. Raises `RuntimeError` if one is refused."""
    with start_blocking_portal() as portal:
        return portal.call(_visit, server, manifest, images)


async def _visit(server: RunningServer, manifest: Manifest, images: Sequence[bytes]) -> LatencyFound:
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        visitor = _Visitor(session, server.base_url, manifest)
        for image in images[:_SETTLED]:
            await visitor.upload(image)
        visitor.forget()
        for image in images[_SETTLED:]:
            await visitor.look_at(await visitor.upload(image))
    times = {name: percentiles(seconds) for name, seconds in visitor.seconds.items()}
    n_images = len(visitor.seconds["upload"])
    view_kb = sum(visitor.view_kb) / len(visitor.view_kb)
    return LatencyFound(n_images=n_images, view_kb=view_kb, resident_gb=server.resident_gb, **times)


@dataclass
class _Visitor:
    session: aiohttp.ClientSession
    base_url: str
    manifest: Manifest
    seconds: dict[str, list[float]] = field(default_factory=dict)
    view_kb: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forget()
        self.urls, self.picked = Urls(self.base_url), random.Random(0)
        self.layers: list[Layer] = list(dict.fromkeys(slot.layer for slot in self.manifest.slots))

    def forget(self) -> None:
        self.seconds = {name: [] for name in ("upload", "upload_to_page", "view", "groups", "steering")}

    async def upload(self, image: bytes) -> str:
        """Uploads an image, reads its page, and returns its id."""
        began = time.perf_counter()
        answer = await send(self.session, self.urls.uploads(self.manifest.slug), image)
        self.seconds["upload"].append(time.perf_counter() - began)
        if not answer.location:
            raise RuntimeError(f"an image is answered {answer.status}")
        await get(self.session, self.base_url + answer.location)
        self.seconds["upload_to_page"].append(time.perf_counter() - began)
        return answer.location.partition("?")[0].split("/")[3]

    async def look_at(self, upload_id: str) -> None:
        for turn in range(N_VIEWS):
            layer = self.layers[turn % len(self.layers)]
            tokens = "any" if layer == EMBED else str(self.picked.randint(1, 256))
            feature = await self._some_feature(upload_id, layer, tokens)
            address = self._address(upload_id, "activations", layer=layer, tokens=tokens, feature=feature)
            self.view_kb.append(len(await self._timed("view", address)) / 1e3)
        layer = self.layers[0]
        await self._timed("groups", self._address(upload_id, "groups", api=True, layer=layer), accept=_JSON)
        address = self._address(upload_id, "steering", api=True, layer=layer, edit="0:1")
        await self._timed("steering", address, accept=_JSON)

    async def _some_feature(self, upload_id: str, layer: Layer, tokens: str) -> int | None:
        address = self._address(upload_id, "activations", api=True, layer=layer, tokens=tokens)
        active: list[dict[str, Any]] = json.loads(await get(self.session, address, accept=_JSON))["features"]
        return int(self.picked.choice(active)["feature"]) if active else None

    def _address(self, upload_id: str, part: ImagePart, *, api: bool = False, **query: object) -> str:
        return self.urls.image_part(self.manifest.slug, upload_id, part, api=api, **query)

    async def _timed(self, name: str, address: str, *, accept: str = "text/html") -> bytes:
        began = time.perf_counter()
        body = await get(self.session, address, accept=accept)
        self.seconds[name].append(time.perf_counter() - began)
        return body
