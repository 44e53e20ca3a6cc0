"""A thousand shards, thirty of them damaged in ten ways: what can be read is indexed, the rest is named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scopeview.errors import BadReason
from scopeview.store.reader import IndexReader
from tests.command import scopeview
from tests.indexer.sources.tars import write_tar
from tests.indexer.tiny import index_words, jpeg, write_model, write_suite

N_SHARDS, EVERY = 1000, 33  # shards 0, 33, ... 957: thirty of them


class Damage(NamedTuple):
    """What is done to a tar of two images, what the report calls it, and which images can still be read."""

    spoil: Callable[[Path], object]
    reason: BadReason
    readable: tuple[str, ...]


def _write(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _spoil_second_header(whole: bytes) -> bytes:
    at = whole.index(b"b.jpg")
    return whole[: at + 20] + b"\xff" * 8 + whole[at + 28 :]


def _spoil_second_image(whole: bytes) -> bytes:
    at = whole.index(b"b.jpg") + 512
    return whole[: at + 20] + bytes(200) + whole[at + 220 :]


def _climb(path: Path) -> None:
    write_tar(path, [("a.jpg", jpeg(1)), ("../b.jpg", jpeg(2))])


def _twice(path: Path) -> None:
    write_tar(path, [("a.jpg", jpeg(1)), ("m.jpg", jpeg(2)), ("a.jpg", jpeg(3))])


BOTH, FIRST = ("a", "b"), ("a",)
DAMAGES = [
    Damage(lambda path: _write(path, lambda _: b""), BadReason.UNREADABLE_SHARD, ()),
    Damage(lambda path: _write(path, lambda _: b"<html>404</html>" * 99), BadReason.UNREADABLE_SHARD, ()),
    Damage(lambda path: _write(path, gzip.compress), BadReason.UNREADABLE_SHARD, ()),
    Damage(
        lambda path: _write(path, lambda whole: whole[: whole.index(b"b.jpg") + 700]),
        BadReason.TRUNCATED_SHARD,
        FIRST,
    ),
    Damage(
        lambda path: _write(path, lambda whole: whole[: whole.index(b"b.jpg") + 100]),
        BadReason.TRUNCATED_SHARD,
        (),
    ),
    Damage(lambda path: _write(path, _spoil_second_header), BadReason.TRUNCATED_SHARD, ()),
    Damage(lambda path: _write(path, lambda whole: whole + b"more" * 200), BadReason.TRUNCATED_SHARD, BOTH),
    Damage(lambda path: _write(path, _spoil_second_image), BadReason.CORRUPT, FIRST),
    Damage(_climb, BadReason.UNSAFE_KEY, FIRST),
    Damage(_twice, BadReason.DUPLICATE_KEY, ("a", "m")),
]


def damage_of(number: int) -> Damage | None:
    place, rest = divmod(number, EVERY)
    return DAMAGES[place % len(DAMAGES)] if rest == 0 and place < 30 else None


def readable_of(number: int) -> tuple[str, ...]:
    damage = damage_of(number)
    return FIRST if damage is None else damage.readable


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image a whole shard; they repeat, for what matters is which are there."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "source").mkdir()
    images = [jpeg(seed) for seed in range(8)]
    for number in range(N_SHARDS):
        path = folder / "source" / f"{number:05d}.tar"
        damage = damage_of(number)
        if damage is None:
            write_tar(path, [("a.jpg", images[number % 8])])
        else:
            write_tar(path, [("a.jpg", jpeg(50)), ("b.jpg", jpeg(51))])
            damage.spoil(path)
    write_model(folder / "model")
    write_suite(folder / "suite")
    return folder


def words(world: Path, max_bad: float) -> list[object]:
    """One slot and one image a batch: a thousand shards are many files already."""
    few = ("--layers", "embed", "--tokens", "cls", "--batch-size", "1", "--calibration-images", "4")
    return [*index_words(world, world / "index"), *few, "--max-bad-fraction", max_bad]


@pytest.mark.slow
def test_exactly_the_readable_images_are_indexed_and_every_damaged_shard_is_named(world: Path) -> None:
    readable = [f"{number:05d}/{name}" for number in range(N_SHARDS) for name in readable_of(number)]
    refused = scopeview(*words(world, 0.01))
    assert refused.code == 3, refused.err
    report: dict[str, Any] = json.loads((world / "index" / "report.json").read_text())
    found = {entry["shard"]: entry["reason"] for entry in report["entries"]}
    damaged = {f"{number:05d}": damage_of(number) for number in range(N_SHARDS) if damage_of(number)}
    assert found == {name: damage.reason for name, damage in damaged.items() if damage}
    assert len(report["entries"]) == len(damaged) == 30
    assert all(entry["detail"] for entry in report["entries"])

    ended = scopeview(*words(world, 0.1))  # nothing is encoded again
    assert ended.code == 0, ended.err
    with IndexReader(world / "index") as reader:
        assert [row.key for row in reader.images(limit=2 * N_SHARDS)] == readable
        assert reader.manifest.n_images == report["n_images"] == len(readable)
