"""Captions and labels of a folder of images: tables beside them, and folders that stand for classes."""

import json
import os
from pathlib import Path

import pytest

from indexer.sources import Sample, SourceOptions, open_source
from indexer.sources.imagefolder import class_folders
from tests.indexer.sources.tars import good, png, write_table
from tests.indexer.sources.test_layout import touch, unused


def samples(root: Path, options: SourceOptions | None = None) -> dict[str, Sample]:
    (shard,) = open_source(root, options=options).shards
    return {sample.key: sample for sample in good(shard)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/c.png"):
        touch(tmp_path / "set" / name, png())
    return tmp_path / "set"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "JSONL"])
def test_a_table_beside_the_images_describes_them(root: Path, kind: str) -> None:
    rows = [("a.png", "red", "1"), ("sub/c.png", "blue", "2")]
    table = root / f"metadata.{kind}"
    if kind == "parquet":
        write_table(table, file_name=[row[0] for row in rows], text=[row[1] for row in rows], label=[1, 2])
    elif kind == "csv":
        table.write_text("\ufefffile_name,text,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    else:
        table.write_text(
            "".join(json.dumps({"file_name": a, "text": b, "label": c}) + "\n" for a, b, c in rows)
        )
    found = samples(root)
    assert [(key, sample.caption, sample.label) for key, sample in found.items()] == [
        ("a", "red", "1"),
        ("b", None, None),
        ("sub/c", "blue", "2"),
    ]
    assert found["a"].parts.taken == (("caption", "text"), ("label", "label"))
    assert unused(open_source(root)) == {}


def test_the_nearer_table_holds_and_files_beside_the_image_hold_over_both(root: Path) -> None:
    (root / "metadata.jsonl").write_text(
        '{"file_name": "sub/c.png", "text": "far"}\n{"file_name": "a.png", "text": "table", "wnid": "n1"}\n'
    )
    (root / "sub" / "metadata.jsonl").write_text('{"file_name": "c.png", "text": "near"}\n')
    (root / "a.txt").write_text("own")
    found = samples(root)
    assert (found["sub/c"].caption, found["a"].caption, found["a"].label) == ("near", "own", "n1")


def test_rows_without_an_image_and_broken_ones_are_counted(root: Path) -> None:
    (root / "metadata.jsonl").write_text(
        '{"file_name": "gone.png"}\n{"file_name": "../outside.png"}\n{\n[1]\n'
        '{"text": "x"}\n\n{"file_name": "b.png"}\n'
    )
    (root / "sub" / "metadata.parquet").write_bytes(b"PAR1")
    assert unused(open_source(root)) == {
        "row of a table without its image": (3, ("metadata.jsonl",) * 3),
        "row of a table that cannot be read": (2, ("metadata.jsonl",) * 2),
        "table that cannot be read": (1, ("sub/metadata.parquet",)),
    }


def test_a_table_that_is_a_link_out_is_not_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "private.jsonl").write_text('{"file_name": "a.png", "text": "secret"}\n')
    (root / "metadata.jsonl").symlink_to(tmp_path / "private.jsonl")
    assert samples(root)["a"].caption is None
    assert unused(open_source(root)) == {"link that leaves the folder": (1, ("metadata.jsonl",))}
    assert samples(root, SourceOptions(follow_links=True))["a"].caption == "secret"


def test_a_table_that_is_a_pipe_or_a_link_in_a_circle_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "metadata.csv")
    (root / "metadata.jsonl").symlink_to("metadata.jsonl")
    assert unused(open_source(root)) == {"not a regular file": (2, ("metadata.csv", "metadata.jsonl"))}


def test_the_fingerprint_covers_what_tables_and_folders_say(root: Path) -> None:
    digests = [open_source(root).shards[0].fingerprint()]
    for caption in ("one", "two"):
        (root / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": caption}))
        digests.append(open_source(root).shards[0].fingerprint())
    digests.append(open_source(root, options=SourceOptions(label_key="folder")).shards[0].fingerprint())
    assert len(set(digests)) == 4


def test_folders_of_images_stand_for_their_classes(tmp_path: Path) -> None:
    for name in ("cats/a.png", "dogs/b.png", "dogs/c.png"):
        touch(tmp_path / name, png())
    (tmp_path / "dogs" / "c.json").write_text('{"label": "wolf"}')
    found = samples(tmp_path)
    assert {key: sample.label for key, sample in found.items()} == {
        "cats/a": "cats",
        "dogs/b": "dogs",
        "dogs/c": "wolf",
    }
    assert found["cats/a"].parts.taken == (("label", "folder"),)


@pytest.mark.parametrize(
    ("paths", "classes"),
    [
        (["cats/a", "dogs/b"], True),
        (["train/cats/a", "test/cats/b", "test/dogs/c"], True),
        (["cats/a", "cats/b"], False),
        (["cats/a", "b"], False),
        (["cats/a", "dogs/big/b"], False),
        (["train/a", "test/b"], False),
    ],
)
def test_only_folders_at_one_depth_that_are_no_splits_are_classes(paths: list[str], classes: bool) -> None:
    assert bool(class_folders(paths, SourceOptions())) is classes
    assert len(class_folders(paths, SourceOptions(label_key="folder"))) == len(paths)
