"""Uploads sent to take the places of others: slowly, many at once, hard to decode, by those who leave."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from app.uploads.decoding import DecodedCrop, ProcessDecoder, decoded_crop
from app.uploads.multipart import Pace, read_image
from app.web.errors import ProblemError
from scopeview.errors import BadReason, ImageError
from scopeview.images import ImageLimits
from scopeview.vision.preprocess import Preprocessing
from tests.app.conftest import StartSite
from tests.app.sample_images import API, sample_image
from tests.loops import on_a_loop

PREPROCESSING = Preprocessing.from_config({"size": 128, "crop_size": 128})
HEAD = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
FORM = HEAD + sample_image() + b"\r\n--x--\r\n"


def scope(client: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": API,
        "raw_path": API.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x"), (b"host", b"testserver")],
        "scheme": "http",
        "server": ("testserver", 80),
        "client": (client, 1),
        "http_version": "1.1",
        "root_path": "",
    }


@dataclass
class Sender:
    """Sends these pieces, then nothing more until it leaves."""

    pieces: list[bytes]
    client: str = "203.0.113.7"
    leaves: asyncio.Event = field(default_factory=asyncio.Event)
    status: int | None = None

    async def receive(self) -> Message:
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": not piece.endswith(b"--x--\r\n")}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]

    async def post(self, app: Any) -> int | None:
        await app(scope(self.client), self.receive, self.send)
        return self.status


def with_senders(site: TestClient, story: Callable[[Any], Awaitable[None]]) -> None:
    assert site.portal is not None
    site.portal.call(story, site.app)


def test_slow_senders_of_one_address_take_their_own_places_alone(start_site: StartSite) -> None:
    """Each of sixteen holds its body back; the others' uploads went on being refused for a minute."""

    async def story(app: Any) -> None:
        slow = [Sender([HEAD]) for _ in range(16)]
        posting = [asyncio.create_task(sender.post(app)) for sender in slow]
        while [sender.status for sender in slow].count(429) < 8:
            await asyncio.sleep(0)
        assert await Sender([FORM], "198.51.100.1").post(app) == 201
        for sender in slow:
            sender.leaves.set()
        await asyncio.wait(posting)
        assert await Sender([FORM]).post(app) == 201

    with_senders(start_site(upload_queue=16), story)


def test_a_sender_that_leaves_ends_the_decoding_of_its_image(start_site: StartSite) -> None:
    began, ended = asyncio.Event(), list[bool]()

    async def endless(*_: object) -> DecodedCrop:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        raise AssertionError

    async def story(app: Any) -> None:
        sender = Sender([FORM])
        posting = asyncio.create_task(sender.post(app))
        await began.wait()
        sender.leaves.set()
        await posting
        assert (sender.status, ended) == (400, [True])
        assert app.state.site.decode_places.n_running == 0

    with_senders(start_site(decoder=endless), story)


def test_images_that_are_hard_to_decode_hold_up_their_sender_alone(start_site: StartSite) -> None:
    async def hard_when_large(data: bytes, limits: ImageLimits, preprocessing: Preprocessing) -> DecodedCrop:
        if len(data) > 10_000:
            await asyncio.Event().wait()
        return decoded_crop(data, limits, preprocessing)

    async def story(app: Any) -> None:
        hard = [Sender([HEAD + b"GIF89a" + bytes(20_000) + b"\r\n--x--\r\n"]) for _ in range(8)]
        posting = [asyncio.create_task(sender.post(app)) for sender in hard]
        while not app.state.site.decode_places.n_running:
            await asyncio.sleep(0)
        assert await Sender([FORM], "198.51.100.1").post(app) == 201
        for sender in hard:
            sender.leaves.set()
        await asyncio.wait(posting)

    with_senders(start_site(decoder=hard_when_large), story)


def test_an_upload_that_waits_too_long_for_its_turn_to_be_decoded_is_a_503(start_site: StartSite) -> None:
    async def endless(*_: object) -> DecodedCrop:
        await asyncio.Event().wait()
        raise AssertionError

    async def story(app: Any) -> None:
        assert await Sender([FORM]).post(app) == 503

    with_senders(start_site(decoder=endless, upload_deadline_s=0.05), story)


@pytest.mark.parametrize(
    ("n_bytes", "deadline_s"), [(0, 10), (4096, 11), (40_960, 20), (204_800, 60), (10_000_000, 60)]
)
def test_what_has_come_decides_how_long_is_waited_for_more(n_bytes: int, deadline_s: float) -> None:
    assert Pace(10**7, timeout_s=60, min_bytes_per_s=4096).deadline_s(n_bytes) == deadline_s


def test_a_sender_below_the_least_pace_is_cut_off_long_before_the_time_for_a_whole_image() -> None:
    async def read() -> None:
        sender = Sender([HEAD, b"x"])
        request = Request(scope(sender.client), sender.receive)
        await read_image(request, Pace(10**7, timeout_s=3600, min_bytes_per_s=4096, grace_s=0.01))

    with pytest.raises(ProblemError) as caught:
        on_a_loop(read)
    assert (caught.value.answer.status, caught.value.answer.error) == (408, "timeout")


def test_an_image_is_decoded_in_another_process_which_ends_at_its_deadline() -> None:
    async def decode() -> None:
        data, limits = sample_image("JPEG"), ImageLimits()
        for _ in range(2):
            with pytest.raises(ImageError) as caught:
                await ProcessDecoder(0.001)(data, limits, PREPROCESSING)
            assert caught.value.reason is BadReason.SLOW_TO_DECODE
        found = await ProcessDecoder(120)(data, limits, PREPROCESSING)
        assert (found.crop == decoded_crop(data, limits, PREPROCESSING).crop).all()
        with pytest.raises(ImageError, match="cut short"):
            await ProcessDecoder(120)(data[:200], limits, PREPROCESSING)

    on_a_loop(decode)
