"""Links are followed inside the source, once round, and into the Hub's cache; others only where asked for."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.sources import SourceOptions, open_source
from scopeview.errors import SourceError
from tests.indexer.sources.tars import png, reasons
from tests.indexer.sources.test_layout import keys, table, tar, touch, unused


def image(path: Path) -> Path:
    return touch(path, png())


def test_a_linked_folder_inside_the_source_is_read(tmp_path: Path) -> None:
    image(tmp_path / "cats" / "a.png")
    image(tmp_path / ".store" / "b.png")
    (tmp_path / "dogs").symlink_to(".store")
    source = open_source(tmp_path)
    assert keys(source) == ["cats/a", "dogs/b"]
    assert unused(source) == {"hidden": (1, (".store",))}


def test_a_linked_folder_outside_is_counted_and_read_where_asked_for(tmp_path: Path) -> None:
    image(tmp_path / "real" / "b.png")
    image(tmp_path / "set" / "cats" / "a.png")
    (tmp_path / "set" / "dogs").symlink_to(tmp_path / "real")
    source = open_source(tmp_path / "set")
    assert keys(source) == ["cats/a"]
    assert unused(source) == {"link that leaves the folder": (1, ("dogs",))}
    followed = open_source(tmp_path / "set", options=SourceOptions(follow_links=True))
    assert (keys(followed), unused(followed)) == (["cats/a", "dogs/b"], {})


def test_an_archive_that_is_a_link_out_is_counted_and_read_where_asked_for(tmp_path: Path) -> None:
    tar(tmp_path / "elsewhere.tar", "a.png")
    tar(tmp_path / "set" / "a.tar", "a.png")
    (tmp_path / "set" / "b.tar").symlink_to(tmp_path / "elsewhere.tar")
    assert unused(open_source(tmp_path / "set")) == {"link that leaves the folder": (1, ("b.tar",))}
    assert keys(open_source(tmp_path / "set", options=SourceOptions(follow_links=True))) == ["a/a", "b/a"]


def test_links_that_lead_round_in_a_circle_end(tmp_path: Path) -> None:
    for here, there in (("a", "b"), ("b", "a")):
        image(tmp_path / here / f"{here}.png")
        (tmp_path / here / there).symlink_to(tmp_path / there)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    source = open_source(tmp_path)
    assert keys(source) == ["a/a", "a/b/b", "b/a/a", "b/b"]
    assert unused(source)["link to a folder above it"][0] == 4


def test_folders_that_all_link_to_each_other_end(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(12)]
    for name in names:
        image(tmp_path / name / "a.png")
        for other in names:
            (tmp_path / name / other).symlink_to(tmp_path / other)
    source = open_source(tmp_path)
    assert len(keys(source)) < 200
    assert "link to a folder that many links lead to" in unused(source)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """`datasets--org--name` as huggingface_hub keeps it: every file of the snapshot is a link to a blob."""
    repository = tmp_path / "datasets--org--name"
    snapshot = repository / "snapshots" / "c0ffee"
    table(repository / "blobs" / "0001", 2)
    image(repository / "blobs" / "0002")
    touch(repository / "blobs" / "0003", b"a caption")
    for path, blob in (
        ("data/train-00000-of-00001.parquet", "0001"),
        ("assets/banner.png", "0002"),
        (".gitattributes", "0003"),
    ):
        link = snapshot / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repository / "blobs" / blob, link.parent))
    touch(repository / "refs" / "main", b"c0ffee")
    return repository


def test_a_snapshot_of_the_hubs_cache_is_read_through_its_links(cache: Path) -> None:
    for path in (cache / "snapshots" / "c0ffee", cache / "snapshots" / "c0ffee" / "data", cache):
        source = open_source(path)
        assert (source.kind, len(keys(source))) == ("parquet", 2)
        assert "link that leaves the folder" not in unused(source)


def test_images_of_a_snapshot_are_read_through_their_links(cache: Path) -> None:
    images = cache / "snapshots" / "c0ffee" / "images"
    images.mkdir()
    (images / "a.png").symlink_to("../../../blobs/0002")
    (images / "a.txt").symlink_to("../../../blobs/0003")
    (images / "b.png").symlink_to("/etc/passwd")
    (shard,) = open_source(images).shards
    (sample,) = (found for found in shard.samples() if found.key == "a")
    assert getattr(sample, "caption", None) == "a caption"
    assert reasons(shard) == ["UNSAFE_KEY"]


def test_of_several_snapshots_one_must_be_named(cache: Path) -> None:
    (cache / "snapshots" / "beef").mkdir()
    (cache / "refs" / "main").unlink()
    with pytest.raises(SourceError, match=r"one of its snapshots \(beef, c0ffee\)"):
        open_source(cache)


def test_an_archive_that_is_a_link_to_nothing_is_a_lost_shard(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", "a.png")
    (tmp_path / "b.tar").symlink_to("gone.tar")
    shards = open_source(tmp_path).shards
    assert [reasons(shard) for shard in shards] == [[], ["UNREADABLE_SHARD"]]
    assert shards[1].fingerprint() == shards[1].fingerprint() != shards[0].fingerprint()


def test_a_pipe_named_like_an_archive_is_counted_and_not_opened(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", "a.png")
    os.mkfifo(tmp_path / "b.tar")
    assert unused(open_source(tmp_path)) == {"not a regular file": (1, ("b.tar",))}


def test_a_folder_that_cannot_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "a.png")
    image(tmp_path / "locked" / "b.png")
    scandir = os.scandir

    def guarded(path: Any) -> Iterator[Any]:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("indexer.sources.listing.os.scandir", guarded)
    assert unused(open_source(tmp_path)) == {"folder that cannot be read": (1, ("locked/",))}
