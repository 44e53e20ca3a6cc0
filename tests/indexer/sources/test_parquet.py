import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.sources.parquet import ParquetShard
from tests.indexer.sources.tars import bad, good, png, reasons


def shard_of(tmp_path: Path, columns: dict[str, list[Any]], **options: Any) -> ParquetShard:
    path = tmp_path / "train-0.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return ParquetShard(path)


def test_the_layout_of_hugging_face_datasets(tmp_path: Path) -> None:
    images = [{"bytes": png(1), "path": "x.png"}, {"bytes": png(2), "path": None}]
    shard = shard_of(
        tmp_path, {"image": images, "text": ["one", None], "label": [3, 4], "PUNSAFE": [0.5, float("nan")]}
    )
    first, second = good(shard)
    assert (first.key, first.image, first.caption, first.label, first.punsafe) == (
        "train-0/000000000",
        png(1),
        "one",
        "3",
        0.5,
    )
    assert (second.key, second.caption, second.punsafe) == ("train-0/000000001", None, None)


@pytest.mark.parametrize("name", ["image", "JPG", "bytes"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_plain_column_of_bytes(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    shard = shard_of(tmp_path, {"caption": ["c"], name: pa.array([png()], kind), "key": ["k"]})
    assert [(sample.key, sample.image, sample.caption) for sample in good(shard)] == [
        ("train-0/k", png(), "c")
    ]


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    shard = shard_of(
        tmp_path,
        {"image": [png(), None, b"", png(), png(), png()], "id": ["a", "b", "c", "a", "../x", None]},
    )
    assert [sample.key for sample in good(shard)] == ["train-0/a", "train-0/000000005"]
    assert reasons(shard) == ["NO_IMAGE", "EMPTY", "DUPLICATE_KEY", "UNSAFE_KEY"]


def test_a_path_without_bytes_is_no_image(tmp_path: Path) -> None:
    images = pa.array(
        [{"bytes": None, "path": "/etc/passwd"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    assert reasons(shard_of(tmp_path, {"image": images})) == ["NO_IMAGE"]


def test_many_row_groups_keep_their_order(tmp_path: Path) -> None:
    shard = shard_of(
        tmp_path, {"image": [png(n) for n in range(100)], "id": list(range(100))}, row_group_size=7
    )
    assert [sample.key for sample in good(shard)] == [f"train-0/{n}" for n in range(100)]
    assert list(pickle.loads(pickle.dumps(shard)).samples()) == list(shard.samples())


def test_a_damaged_page_ends_the_shard_with_a_complaint(tmp_path: Path) -> None:
    images = [bytes([n]) * 500 for n in range(64)]
    shard = shard_of(
        tmp_path,
        {"image": images},
        row_group_size=32,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
    )
    content = bytearray(shard.path.read_bytes())
    where = content.index(images[50])
    content[where : where + 5] = b"other"
    shard.path.write_bytes(content)
    assert [sample.image for sample in good(shard)] == images[:32]
    assert reasons(shard) == ["UNREADABLE_SHARD"]


def test_every_truncation_is_reported(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"image": [png()]})
    whole = shard.path.read_bytes()
    for cut in range(0, len(whole), 7):
        shard.path.write_bytes(whole[:cut])
        assert reasons(shard) == ["UNREADABLE_SHARD"]


def test_a_file_without_an_image_column_says_what_it_has(tmp_path: Path) -> None:
    (complaint,) = bad(shard_of(tmp_path, {"caption": ["x"], "url": ["y"]}))
    assert "caption, url" in complaint.detail
