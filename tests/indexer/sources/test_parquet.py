import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.sources import SourceOptions, open_source
from indexer.sources.parquet import ParquetShard
from scopeview.errors import SourceError
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
    assert [sample.key for sample in good(shard)][::3] == ["train-0/a", "train-0/000000005"]
    assert reasons(shard) == ["NO_IMAGE", "EMPTY"]


def taken(shard: ParquetShard, part: str) -> list[str | None]:
    return [dict(sample.parts.taken).get(part) for sample in good(shard)]


def test_an_id_that_repeats_is_made_unique_by_the_row_number(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"image": [png(n) for n in range(4)], "id": ["a", "a", "a~000000003", "a"]})
    assert [sample.key.removeprefix("train-0/") for sample in good(shard)] == [
        "a",
        "a~000000001",
        "a~000000003",
        "a~000000003~000000003",
    ]
    repeats = "id, with the row number where it repeats"
    assert taken(shard, "key")[:3] == ["id", repeats, "id"]
    assert reasons(shard) == []


def test_an_id_that_is_unsafe_is_escaped_or_else_replaced_by_the_row_number(tmp_path: Path) -> None:
    ids = ["https://a.org/x.jpg?y=1", "../x", "new\nline", "..", "", "x" * 2000, None, "caf\u00e9"]
    shard = shard_of(tmp_path, {"image": [png(n) for n in range(len(ids))], "id": ids})
    assert [sample.key.removeprefix("train-0/") for sample in good(shard)] == [
        "https%3A%2F%2Fa.org%2Fx.jpg%3Fy%3D1",
        "..%2Fx",
        "new%0Aline",
        *("000000003", "000000004", "000000005", "000000006", "caf\u00e9"),
    ]
    assert taken(shard, "key") == ["id, escaped"] * 3 + ["row number"] * 4 + ["id"]


def test_columns_that_keep_each_value_once_are_read(tmp_path: Path) -> None:
    images = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array([png(1), png(2)], pa.binary()))
    shard = shard_of(
        tmp_path,
        {
            "image": images,
            "caption": pa.array(["x", "y", "x"]).dictionary_encode(),
            "id": pa.array(["a", "b", "c"]).dictionary_encode(),
        },
    )
    assert [(sample.key, sample.image, sample.caption) for sample in good(shard)] == [
        ("train-0/a", png(1), "x"),
        ("train-0/b", png(2), "y"),
        ("train-0/c", png(1), "x"),
    ]


def test_of_a_list_of_images_the_first_is_taken_and_the_rest_is_named(tmp_path: Path) -> None:
    lists = [
        [{"bytes": png(1), "path": "a"}, {"bytes": png(2), "path": "b"}],
        [{"bytes": png(3), "path": "c"}],
        [],
    ]
    shard = shard_of(
        tmp_path, {"images": lists, "caption": [["one", "two"], None, None], "id": [[1], [2], [3]]}
    )
    first, second = good(shard)
    assert (first.image, first.caption, second.image) == (png(1), "one", png(3))
    assert first.parts.unused == ("id", "images after the first")
    assert second.parts.unused == ("id", "caption")
    assert reasons(shard) == ["NO_IMAGE"]


def huggingface(features: dict[str, Any]) -> dict[str, str]:
    return {"huggingface": json.dumps({"info": {"features": features}})}


def test_numbers_of_classes_are_read_by_the_names_in_the_schema(tmp_path: Path) -> None:
    columns = {
        "photo": [{"bytes": png(n), "path": None} for n in range(4)],
        "label": [0, 2, -1, 7],
        "tags": [[1, 0]] * 4,
    }
    names = ["cat", "dog", "owl"]
    features = {
        "photo": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": names},
        "tags": {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": names}},
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata(huggingface(features)), path)
    assert [sample.label for sample in good(ParquetShard(path))] == ["cat", "owl", None, "7"]
    tags = ParquetShard(path, options=SourceOptions(label_key="tags"))
    assert [sample.label for sample in good(tags)] == ["dog, cat"] * 4


@pytest.mark.parametrize(
    "noted", [b"{", b"[]", b'{"info": {"features": [1]}}', b'{"info": {"features": {"label": 3}}}']
)
def test_notes_in_the_schema_that_make_no_sense_are_left(tmp_path: Path, noted: bytes) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"image": [png()], "label": [1]}).replace_schema_metadata({b"huggingface": noted})
    pq.write_table(table, path)
    assert [sample.label for sample in good(ParquetShard(path))] == ["1"]


def test_the_image_column_can_be_named(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"image": [png(1)], "After_Edit": [png(2)], "text": ["a"], "more": ["b"]})
    assert good(shard)[0].parts.unused == ("After_Edit", "more")
    named = ParquetShard(shard.path, options=SourceOptions(image_key="after_edit", caption_key="more"))
    assert [(sample.image, sample.caption) for sample in good(named)] == [(png(2), "b")]
    with pytest.raises(SourceError, match="no column 'nowhere' of image bytes"):
        open_source(shard.path, options=SourceOptions(image_key="nowhere"))
    with pytest.raises(SourceError, match=r"1 \.parquet, and no images in a column 'nowhere'"):
        open_source(tmp_path, options=SourceOptions(image_key="nowhere"))


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
    assert bad(shard)[0].n_samples == 32


def test_every_truncation_is_reported(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, {"image": [png()]})
    whole = shard.path.read_bytes()
    for cut in range(0, len(whole), 7):
        shard.path.write_bytes(whole[:cut])
        assert reasons(shard) == ["UNREADABLE_SHARD"]


def test_a_file_without_an_image_column_says_what_it_has(tmp_path: Path) -> None:
    (complaint,) = bad(shard_of(tmp_path, {"caption": ["x"], "url": ["y"]}))
    assert "caption, url" in complaint.detail
