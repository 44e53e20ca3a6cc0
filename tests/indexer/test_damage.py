"""A damaged image set: exactly its readable images are indexed, and each other one is named and counted."""

import json
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scopeview.errors import BadReason
from scopeview.store.reader import IndexReader
from scopeview.vision.clip import Clip
from scopeview.vision.towers import ClipTower
from tests.command import scopeview
from tests.indexer.sources.tars import write_tar
from tests.indexer.tiny import index_words, jpeg, write_model, write_suite

N_GOOD = 14
BAD = {
    "00000/corrupt": BadReason.CORRUPT,
    "00000/cut": BadReason.CORRUPT,
    "00000/page": BadReason.UNSUPPORTED,
    "00000/empty": BadReason.EMPTY,
    "00000/bomb": BadReason.TOO_MANY_PIXELS,
    "00000/g00": BadReason.DUPLICATE_KEY,
    "00000/../../x": BadReason.UNSAFE_KEY,
    "00000/words": BadReason.NO_IMAGE,
    "00001": BadReason.TRUNCATED_SHARD,
    "00002": BadReason.UNREADABLE_SHARD,
}


def bomb() -> bytes:
    """A PNG of a few bytes whose header speaks of 40,000 x 40,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def write_damaged(source: Path) -> None:
    source.mkdir()
    good = [(f"g{i:02d}.jpg", jpeg(i)) for i in range(10)]
    spoilt = jpeg(50)
    write_tar(
        source / "00000.tar",
        [
            *good,
            ("trailing.jpg", jpeg(20) + b"<!-- added by a broken proxy -->"),
            ("corrupt.jpg", spoilt[:20] + b"\0" * 300),
            ("cut.jpg", spoilt[: len(spoilt) // 2]),
            ("page.jpg", b"<!doctype html><title>404</title>"),
            ("empty.jpg", b""),
            ("bomb.png", bomb()),
            ("g00.jpg", jpeg(21)),
            ("../../x.jpg", jpeg(22)),
            ("words.txt", b"a caption without an image"),
        ],
    )
    whole = write_tar(source / "00001.tar", [(f"t{i}.jpg", jpeg(30 + i)) for i in range(4)]).read_bytes()
    last = whole.index(b"t3.jpg")
    (source / "00001.tar").write_bytes(whole[: last + 512 + 100])
    (source / "00002.tar").write_bytes(b"not a tar at all")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    write_damaged(folder / "source")
    write_model(folder / "model")
    write_suite(folder / "suite")
    return folder


@pytest.fixture(scope="module")
def refused(world: Path) -> Path:
    """The index folder after a run that found too many bad images."""
    ended = scopeview(*index_words(world, world / "index"), "--max-bad-fraction", "0.3")
    assert ended.code == 3
    (line,) = (line for line in ended.err.splitlines() if line.startswith("scopeview: "))
    assert f"{len(BAD)} of {N_GOOD + len(BAD)} samples cannot be used" in line
    assert "2 corrupt image" in line
    assert "41.7% where --max-bad-fraction allows 30.0%" in line
    assert not (world / "index" / "manifest.json").exists()
    return world / "index"


def report(index_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((index_dir / "report.json").read_text())
    return found


def test_every_bad_sample_is_in_the_report_by_name_and_counted_by_reason(refused: Path) -> None:
    found = report(refused)
    assert {entry["key"]: entry["reason"] for entry in found["entries"]} == BAD
    assert found["skipped"] == dict(Counter(BAD.values()))
    assert (found["n_seen"], found["n_images"]) == (N_GOOD + len(BAD), N_GOOD)
    assert all(entry["detail"] for entry in found["entries"])


def test_with_a_higher_threshold_it_goes_on_without_encoding_again(
    world: Path, refused: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clip, "residual_stream", None)
    ended = scopeview(*index_words(world, refused), "--max-bad-fraction", "0.5")
    assert ended.code == 0, ended.err
    assert "left out: 2 corrupt image" in ended.out
    with IndexReader(refused) as reader:
        keys = [row.key for row in reader.images(limit=100)]
        assert reader.manifest.skipped == report(refused)["skipped"]
    assert keys == [f"00000/g{i:02d}" for i in range(10)] + [
        "00000/trailing",
        *(f"00001/t{i}" for i in range(3)),
    ]
    assert scopeview("verify", refused).code == 0


def test_a_set_without_one_usable_image_says_why(world: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name, content in {"page.jpg": b"<html>", "empty.png": b"", "cut.jpg": jpeg(1)[:99]}.items():
        (tmp_path / "source" / name).write_bytes(content)
    words = [
        "index",
        tmp_path / "source",
        *index_words(world, tmp_path / "index")[2:],
        "--max-bad-fraction",
        "1",
    ]
    for _ in range(2):  # the second time nothing is left to encode
        ended = scopeview(*words)
        assert ended.code == 3
        assert (
            "3 of 3 samples cannot be used (1 corrupt image, 1 empty file, 1 unsupported format)" in ended.err
        )
    keys = [entry["key"] for entry in report(tmp_path / "index")["entries"]]
    assert sorted(keys) == ["cut", "empty", "page"]


def test_images_whose_activations_overflow_are_left_out(world: Path, tmp_path: Path) -> None:
    words = index_words(world, tmp_path / "index")
    embed = ClipTower.embed
    enter = Clip._embed
    dark: list[Any] = []

    def entering(self: Clip, pixels: Any) -> Any:
        dark[:] = [pixels.float().mean(dim=(1, 2, 3)) < 125]
        return enter(self, pixels)

    def overflowing(self: ClipTower, residual: Any) -> Any:
        return embed(self, residual).masked_fill(dark[0][:, None], float("inf"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Clip, "_embed", entering)
        patch.setattr(ClipTower, "embed", overflowing)
        assert scopeview(*words, "--max-bad-fraction", "0.9").code == 0
    found = report(tmp_path / "index")
    assert found["skipped"][BadReason.NON_FINITE] > 0
    assert found["n_images"] == N_GOOD - found["skipped"][BadReason.NON_FINITE]
    assert scopeview("verify", tmp_path / "index").code == 0
