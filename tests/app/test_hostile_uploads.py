"""What nobody sends by accident: each refused with a clear 4xx, no model loaded, nothing written."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.uploads.image_validation import MAX_FRAMES
from tests.app.conftest import StartSite
from tests.app.sample_images import API, FORM, form, sample_image

BOUNDARY = "----boundary7"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(side: int = 50_000) -> bytes:
    """Two and a half billion pixels of one bit, in some kilobytes."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side // 8 + 1) * 100)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def webp_bomb() -> bytes:
    """An ordinary one that says in its header that it is as large as a WebP can be."""
    made = bytearray(sample_image("WEBP", lossless=True))
    at = made.index(b"VP8L") + 9
    made[at : at + 4] = struct.pack("<I", 0x3FFF | 0x3FFF << 14)
    return bytes(made)


def gif(n_frames: int = 1, side: int = 8) -> bytes:
    """Of a size and number of frames that are only claimed: each frame is one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * n_frames + b"\x3b"


def zipped(before: bytes) -> bytes:
    buffer = io.BytesIO(before)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("page.html", "nothing")
    return buffer.getvalue()


def with_comment(words: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", comment=words)
    return buffer.getvalue()


HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "a PNG bomb": (png_bomb(), 413, "too_many_pixels"),
    "a WebP bomb": (webp_bomb(), 413, "too_many_pixels"),
    "a GIF bomb": (gif(3, side=65_535), 413, "too_many_pixels"),
    "a GIF of many frames": (gif(100_000), 413, "too_many_frames"),
    "an image and a ZIP": (zipped(sample_image("JPEG")), 415, "unsupported"),
    "a PNG and a ZIP": (zipped(sample_image("PNG")), 415, "unsupported"),
    "a PDF and an image": (b"%PDF-1.7\n" + sample_image("JPEG"), 415, "unsupported"),
    "an image and a PDF": (with_comment("%PDF-1.4 1 0 obj"), 415, "unsupported"),
    "an image and a page": (with_comment("<html><body onload=alert(1)>"), 415, "unsupported"),
    "an image and PHP": (with_comment("<?php system($_GET[0]); ?>"), 415, "unsupported"),
    "an image and a script": (sample_image("PNG") + b"<SCRIPT src=//evil></SCRIPT>", 415, "unsupported"),
    "a GIF and JavaScript": (gif().replace(struct.pack("<HH", 8, 8), b"/*=1", 1), 415, "unsupported"),
    "SVG": (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(strict_site: TestClient, upload_dir: Path, name: str) -> None:
    data, status, error = HOSTILE[name]
    answer = strict_site.post(API, files=form(data))
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert list(upload_dir.iterdir()) == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(
    strict_site: TestClient, upload_dir: Path, kind: str, kept: float
) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(buffer, kind)
    data = buffer.getvalue()
    answer = strict_site.post(API, files=form(data[: int(kept * len(data)) - 2]))
    assert (answer.status_code, answer.json()["error"]) == (422, "corrupt")
    assert list(upload_dir.iterdir()) == []


def test_what_cameras_append_and_ordinary_animations_are_let_through(site: TestClient) -> None:
    film = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40
    scan, end = b"\xff\xda", b"\xff\xd9"
    for trailer in (film, film + scan + film, film + end + scan + film):
        assert site.post(API, files=form(sample_image("JPEG") + trailer)).status_code == 201
    for n_frames in (1, 30, MAX_FRAMES):
        assert site.post(API, files=form(gif(n_frames))).status_code == 201
    assert site.post(API, files=form(gif(MAX_FRAMES + 1))).status_code == 413


def test_what_is_too_long_and_thin_for_the_model_is_refused(site: TestClient, upload_dir: Path) -> None:
    for size in ((1, 20_000), (20_000, 1)):
        answer = site.post(API, files=form(sample_image(size=size)))
        assert (answer.status_code, answer.json()["error"]) == (413, "too_many_pixels")
        assert "1 x 20000" in answer.json()["detail"] or "20000 x 1" in answer.json()["detail"]
    assert list(upload_dir.iterdir()) == []


def test_a_body_in_chunks_ends_at_the_limit(start_site: StartSite, upload_dir: Path) -> None:
    site, sent = start_site(max_upload_bytes=200_000), list[int]()

    def chunks() -> Iterator[bytes]:
        yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'.encode()
        for _ in range(1000):
            sent.append(1)
            yield bytes(10_000)

    answer = site.post(API, content=chunks(), headers=MULTIPART)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    assert list(upload_dir.iterdir()) == []


@pytest.mark.parametrize("address", [API, FORM])
@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_what_another_site_sends_is_refused_before_it_is_read(
    strict_site: TestClient, upload_dir: Path, address: str, headers: dict[str, str]
) -> None:
    answer = strict_site.post(address, files=form(sample_image()), headers=headers)
    assert answer.status_code == 403
    assert list(upload_dir.iterdir()) == []


def malformed(random: random.Random) -> tuple[bytes, str]:
    """A form that is broken somewhere, and its content type: parts, headers and bytes at random."""
    pieces = [
        f"--{BOUNDARY}".encode(),
        f"--{BOUNDARY}--".encode(),
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b'Content-Disposition: form-data; name="image"; filename="a.png"',
        b'Content-Disposition: form-data; name="image"',
        b"Content-Disposition: form-data; name=",
        b"Content-Disposition: attachment",
        b"Content-Disposition: form-data; name=\"image\"; filename*=UTF-8''%ff%zz",
        b"Content-Type: image/png",
        b"Content-Type: text/plain; charset=utf-99",
        b"Content-Transfer-Encoding: base64",
        b": no name",
        b"X" * 9_000,
        b"\xff\xfe\x00",
        sample_image()[: random.randrange(1, 60)],
        random.randbytes(random.randrange(40)),
    ]
    body = b"".join(random.choices(pieces, k=random.randrange(12)))
    kinds = [MULTIPART["Content-Type"]] * 6 + [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=\xe9",
        "multipart/form-data; boundary=" + "b" * 300,
        "multipart/mixed; boundary=x",
    ]
    return body, random.choice(kinds)


def test_a_thousand_malformed_forms_are_4xx_and_never_5xx(strict_site: TestClient, upload_dir: Path) -> None:
    found: dict[int, int] = {}
    for seed in range(1000):
        body, kind = malformed(random.Random(seed))
        answer = strict_site.post(API, content=body, headers={b"Content-Type": kind.encode("latin-1")})
        assert 400 <= answer.status_code < 500, (seed, body, kind, answer.text)
        assert answer.json()["detail"], seed
        found[answer.status_code] = found.get(answer.status_code, 0) + 1
    assert set(found) == {415, 422}, found
    assert found[422] > 500
    assert list(upload_dir.iterdir()) == []


def test_whole_forms_with_one_byte_changed_never_break_the_server(site: TestClient) -> None:
    """Here the form may still be whole, and the image still an image."""
    parts = (
        b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    )
    whole = (
        b"--"
        + BOUNDARY.encode()
        + b"\r\n"
        + parts
        + sample_image()
        + b"\r\n--"
        + BOUNDARY.encode()
        + b"--\r\n"
    )
    assert site.post(API, content=whole, headers=MULTIPART).status_code == 201
    for seed in range(100):
        picked = random.Random(seed)
        body = bytearray(whole)
        body[picked.randrange(len(body))] = picked.randrange(256)
        status = site.post(API, content=bytes(body), headers=MULTIPART).status_code
        assert status == 201 or 400 <= status < 500, (seed, status)
