"""Whatever lies under a source is indexed, or counted by reason, or refused by name."""

from pathlib import Path

import pytest

from indexer.sources import Source, SourceOptions, open_source
from indexer.sources.layout import MAX_LOOSE_IMAGES, shard_names
from scopeview.errors import SourceError
from tests.indexer.sources.tars import good, png, write_table, write_tar


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def tar(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_tar(path, [(name, png()) for name in names])


def table(path: Path, n: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_table(path, image=[png(i) for i in range(n)])


def keys(source: Source) -> list[str]:
    return [sample.key for shard in source.shards for sample in good(shard)]


def unused(source: Source) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {one.reason: (one.n, one.examples) for one in source.unused}


def test_a_banner_does_not_turn_a_set_of_tables_into_one_image(tmp_path: Path) -> None:
    touch(tmp_path / "assets" / "banner.png", png())
    touch(tmp_path / "README.md")
    table(tmp_path / "data" / "train-00000-of-00001.parquet", 3)
    source = open_source(tmp_path)
    assert (source.kind, len(keys(source))) == ("parquet", 3)
    assert unused(source) == {
        "image outside the archives": (1, ("assets/banner.png",)),
        "other file (.md)": (1, ("README.md",)),
    }


def test_a_preview_does_not_turn_a_set_of_tars_into_one_image(tmp_path: Path) -> None:
    touch(tmp_path / "preview.jpg", png())
    tar(tmp_path / "shards" / "00000.tar", "a.png", "b.png")
    source = open_source(tmp_path)
    assert (source.kind, keys(source)) == ("webdataset", ["shards--00000/a", "shards--00000/b"])
    assert unused(source) == {"image outside the archives": (1, ("preview.jpg",))}


def test_many_images_beside_archives_are_refused_and_the_kind_can_be_chosen(tmp_path: Path) -> None:
    for number in range(MAX_LOOSE_IMAGES + 1):
        touch(tmp_path / "photos" / f"{number:02d}.png", png())
    tar(tmp_path / "old" / "backup.tar", "a.png")
    with pytest.raises(SourceError, match=r"mixes \.tar and image files \(1 such as old/backup\.tar, 21"):
        open_source(tmp_path)
    folder = open_source(tmp_path, options=SourceOptions(kind="folder"))
    assert (len(keys(folder)), unused(folder)) == (
        21,
        {"archive of the kind that is not read": (1, ("old/backup.tar",))},
    )
    tars = open_source(tmp_path, options=SourceOptions(kind="webdataset"))
    assert keys(tars) == ["old--backup/a"]
    assert unused(tars)["image outside the archives"][0] == 21


def test_images_in_the_folder_of_the_archives_are_refused_naming_both(tmp_path: Path) -> None:
    tar(tmp_path / "shards" / "a.tar", "a.jpg")
    touch(tmp_path / "shards" / "a.png", png())
    with pytest.raises(SourceError, match=r"--source-kind webdataset or --source-kind folder"):
        open_source(tmp_path)


def test_tars_and_tables_with_images_are_refused_wherever_they_lie(tmp_path: Path) -> None:
    tar(tmp_path / "one" / "a.tar", "a.png")
    table(tmp_path / "two" / "b.parquet")
    with pytest.raises(SourceError, match=r"mixes \.tar and \.parquet files"):
        open_source(tmp_path)
    assert open_source(tmp_path, options=SourceOptions(kind="parquet")).kind == "parquet"


def test_a_kind_that_is_not_there_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", png())
    with pytest.raises(SourceError, match=r"1 \.png, and no \.tar files: nothing to index"):
        open_source(tmp_path, options=SourceOptions(kind="webdataset"))


def test_files_of_img2dataset_are_no_strangers(tmp_path: Path) -> None:
    tar(tmp_path / "00000.tar", "a.png")
    touch(tmp_path / "00000_stats.json", b'{"successes": 1}')
    touch(tmp_path / "00001_stats.json", b'{"successes": 1}')
    assert unused(open_source(tmp_path)) == {
        "statistics of a tar that is not there": (1, ("00001_stats.json",))
    }


def test_files_that_lie_about_in_a_folder_of_images_are_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        touch(tmp_path / name, png())
    for name in ("a.txt", "lonely.txt", "b.zip", ".DS_Store", "README.md"):
        touch(tmp_path / name)
    assert unused(open_source(tmp_path)) == {
        "archive of a format that is not read (.zip)": (1, ("b.zip",)),
        "hidden": (1, (".DS_Store",)),
        "other file (.md)": (1, ("README.md",)),
        "other file (.txt)": (1, ("lonely.txt",)),
    }


def test_a_few_examples_stand_for_many(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", "a.png")
    for number in range(9):
        touch(tmp_path / f"{number}.tiff")
    assert unused(open_source(tmp_path)) == {"other file (.tiff)": (9, ("0.tiff", "1.tiff", "2.tiff"))}


def test_upper_case_names_are_read(tmp_path: Path) -> None:
    tar(tmp_path / "tars" / "A.tar", "a.png")
    tar(tmp_path / "tars" / "B.TAR", "b.png")
    table(tmp_path / "tables" / "C.PARQUET")
    assert keys(open_source(tmp_path / "tars")) == ["A/a", "B/b"]
    assert keys(open_source(tmp_path / "tables")) == ["C/000000000"]
    assert keys(open_source(tmp_path / "tars" / "B.TAR")) == ["B/b"]


def test_names_of_shards_are_unique() -> None:
    assert shard_names(["a/b.tar", "00000.tar", "00000.tar.gz"]) == ["a--b", "00000.tar", "00000.tar.gz"]
    assert shard_names(["a/b.tar", "a--b.tar"]) == ["a--b.tar", "a--b.tar~"]
