from pathlib import Path

import pytest

from indexer.sources import open_source
from scopeview.errors import SourceError
from tests.indexer.sources.tars import png, reasons, write_table, write_tar


def test_a_folder_of_tars_with_tables_beside_them_is_a_webdataset_sorted_by_name(tmp_path: Path) -> None:
    for name in ("00001", "00000"):
        write_tar(tmp_path / f"{name}.tar", [("a.jpg", png())])
        write_table(tmp_path / f"{name}.parquet", url=["x"], caption=["y"])
    source = open_source(tmp_path)
    assert source.kind == "webdataset"
    assert [shard.name for shard in source.shards] == ["00000", "00001"]


def test_one_tar_is_a_webdataset(tmp_path: Path) -> None:
    source = open_source(write_tar(tmp_path / "a.b.tar", [("a.jpg", png())]))
    assert (source.kind, [shard.name for shard in source.shards]) == ("webdataset", ["a.b"])


def test_tables_with_images_are_a_parquet_source_also_when_one_is_damaged(tmp_path: Path) -> None:
    write_table(tmp_path / "1.parquet", image=[png()])
    (tmp_path / "0.parquet").write_bytes(b"PAR1 cut short")
    source = open_source(tmp_path)
    assert source.kind == "parquet"
    assert [reasons(shard) for shard in source.shards] == [["UNREADABLE_SHARD"], []]
    assert open_source(tmp_path / "1.parquet").kind == "parquet"


def test_a_table_of_captions_does_not_stop_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    write_table(tmp_path / "metadata.parquet", file_name=["a.png"])
    source = open_source(tmp_path)
    assert (source.kind, len(source.shards)) == ("folder", 1)


def test_two_kinds_in_one_folder_are_refused_naming_both(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("a.jpg", png())])
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(SourceError, match=r"mixes \.tar and image files"):
        open_source(tmp_path)


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no files"):
        open_source(tmp_path)
    for name in ("a.tiff", "b.tiff", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=r"2 \.tiff, 1 \.txt.*accepted are"):
        open_source(tmp_path)


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", url=["x"])
    with pytest.raises(SourceError, match="no column of image bytes"):
        open_source(tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"1 \.parquet"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["missing", "image.jpg", "a.tar.zst"])
def test_other_paths_are_refused_naming_what_is_accepted(tmp_path: Path, name: str) -> None:
    if name != "missing":
        (tmp_path / name).write_bytes(png())
    with pytest.raises(SourceError, match="accepted are: a folder of images"):
        open_source(tmp_path / name)


def test_shards_hold_at_least_one_image(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not 0"):
        open_source(tmp_path, images_per_shard=0)
