"""A shard's folder: all of it or nothing, and every file as `data/README.md` says."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from indexer import shard_writer
from indexer.shard_writer import ImageEntry, ShardMarker, ShardWriter, read_marker
from scopeview.slots import Slot
from scopeview.store.files import codes_file, shard_dir
from scopeview.store.pack import Pack
from scopeview.vision.encoder import Encoded, SlotCodes

CLS, ANY = Slot(3, "cls"), Slot(3, "any")
MARKER = ShardMarker(
    "photos.tar", "f00d", n_seen=4, n_images=3, bad=[{"key": "k", "reason": "r", "detail": "d"}]
)


def entry(key: str, caption: str | None = None) -> ImageEntry:
    return ImageEntry(key, caption, None, None, 640, 480, "a" * 64, 0.5, None)


def encoded(lengths: Sequence[int], first: int = 0) -> Encoded:
    """Pair i of a batch has feature `first + i`, value i + 1 and, at `any`, position 2 i."""
    n = sum(lengths)
    features, values = np.arange(first, first + n, dtype=np.int32), np.arange(1, n + 1, dtype=np.float32)
    sizes = np.array(lengths, np.int32)
    codes = {
        CLS: SlotCodes(sizes, features, values, None),
        ANY: SlotCodes(sizes, features, values, (2 * np.arange(n)).astype(np.int16)),
    }
    embeddings = np.full((len(lengths), 4), first, np.float16)
    return Encoded(codes, embeddings, np.ones(len(lengths), dtype=bool))


def write(index_dir: Path) -> Path:
    with ShardWriter(index_dir, 7, [CLS, ANY]) as writer:
        writer.add([entry("a", "é\x00\n"), entry("b")], [b"first", b"second"], encoded([2, 0]))
        writer.add([entry("c")], [b"third"], encoded([1], first=9))
        assert writer.n_images == 3
        writer.finish(MARKER, projection_dim=4)
    return shard_dir(index_dir, 7)


def test_codes_are_lists_by_shard_row_over_all_batches(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert pq.read_table(codes_file(folder, CLS)).to_pylist() == [
        {"shard_row": 0, "features": [0, 1], "activations": [1.0, 2.0], "positions": None},
        {"shard_row": 1, "features": [], "activations": [], "positions": None},
        {"shard_row": 2, "features": [9], "activations": [1.0], "positions": None},
    ]
    assert [row["positions"] for row in pq.read_table(codes_file(folder, ANY)).to_pylist()] == [
        [0, 2],
        [],
        [0],
    ]


def test_images_embeddings_and_thumbnails_follow_the_same_rows(tmp_path: Path) -> None:
    folder = write(tmp_path)
    images = pq.read_table(folder / "images.parquet").to_pylist()
    assert [(row["shard_row"], row["key"], row["caption"]) for row in images] == [
        (0, "a", "é\x00\n"),
        (1, "b", None),
        (2, "c", None),
    ]
    embeddings = np.load(folder / "embeddings.npy")
    assert (embeddings.dtype, embeddings[:, 0].tolist()) == (np.float16, [0, 0, 9])
    thumbs = Pack(folder / "thumbs.pack")
    assert [thumbs.read(row) for row in range(3)] == [b"first", b"second", b"third"]


def test_the_marker_is_read_back(tmp_path: Path) -> None:
    write(tmp_path)
    assert read_marker(tmp_path, 7) == MARKER
    assert read_marker(tmp_path, 8) is None
    assert json.loads((shard_dir(tmp_path, 7) / "shard.json").read_bytes())["n_seen"] == 4


def test_the_folder_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 7, [CLS, ANY]) as writer:
        writer.add([entry("a")], [b"thumb"], encoded([1]))
        assert [path.name for path in (tmp_path / "shards").iterdir()] == ["00007.part"]
        writer.finish(MARKER, projection_dim=4)
        assert [path.name for path in (tmp_path / "shards").iterdir()] == ["00007"]
    assert not list(shard_dir(tmp_path, 7).glob("*.part"))


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with ShardWriter(tmp_path, 7, [CLS, ANY]) as writer:
            writer.add([entry("a")], [b"thumb"], encoded([1]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert list((tmp_path / "shards").iterdir()) == []


def test_what_a_killed_run_left_is_not_mixed_in(tmp_path: Path) -> None:
    left = tmp_path / "shards" / "00007.part"
    left.mkdir(parents=True)
    (left / "codes-9-any.parquet").write_text("of an earlier run")
    assert not (write(tmp_path) / "codes-9-any.parquet").exists()


def test_a_shard_without_an_image_is_whole_too(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, [CLS]) as writer:
        writer.finish(ShardMarker("empty", "0", n_seen=2, n_images=0), projection_dim=4)
    folder = shard_dir(tmp_path, 0)
    assert pq.read_table(codes_file(folder, CLS)).num_rows == 0
    assert pq.read_table(folder / "images.parquet").num_rows == 0
    assert np.load(folder / "embeddings.npy").shape == (0, 4)
    assert len(Pack(folder / "thumbs.pack")) == 0


def test_codes_are_flushed_as_they_grow_and_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_writer, "_FLUSH_PAIRS", 3)
    with ShardWriter(tmp_path, 0, [CLS, ANY]) as writer:
        for batch in range(5):
            writer.add([entry(str(batch))], [b"thumb"], encoded([2], first=2 * batch))
        writer.finish(MARKER, projection_dim=4)
    file = pq.ParquetFile(codes_file(shard_dir(tmp_path, 0), CLS))
    assert file.num_row_groups == 3
    assert file.read().column("features").to_pylist() == [[2 * i, 2 * i + 1] for i in range(5)]
