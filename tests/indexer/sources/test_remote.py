"""Sources behind a URL: listed at once, fetched a shard at a time, the same samples as from a folder."""

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from indexer.sources import BadSample, Sample, open_source
from scopeview.errors import SourceError, TransferError
from tests.indexer.sources.tars import png, write_table, write_tar


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """A bucket in memory with two tars, one of them in a folder of its own and one sample short."""
    system = fsspec.filesystem("memory")
    local = tmp_path / "local"
    local.mkdir()
    write_tar(local / "00000.tar", [("a.png", png(1)), ("a.txt", b"red"), ("b.png", png(2))])
    write_tar(local / "00001.tar", [("a.png", png(3))])
    system.makedirs("/bucket/set/deep", exist_ok=True)
    system.put_file(str(local / "00000.tar"), "/bucket/set/00000.tar")
    system.put_file(str(local / "00001.tar"), "/bucket/set/deep/00001.tar")
    system.pipe("/bucket/set/deep/00001_stats.json", b'{"successes": 2}')
    system.pipe("/bucket/set/00000_stats.json", b'{"successes": 2}')
    system.pipe("/bucket/set/README.md", b"words")
    yield "memory://bucket/set"
    system.rm("/bucket", recursive=True)


def test_shards_behind_a_url_give_the_samples_of_a_folder(bucket: str, tmp_path: Path) -> None:
    source = open_source(bucket)
    assert source.kind == "webdataset"
    assert [shard.name for shard in source.shards] == ["00000", "deep--00001"]
    first = list(source.shards[0].samples())
    assert first == list(open_source(tmp_path / "local").shards[0].samples())
    sample, short = source.shards[1].samples()
    assert isinstance(sample, Sample)
    assert sample.key == "deep--00001/a"
    assert isinstance(short, BadSample)
    assert "counts 2 samples" in short.detail


def test_nothing_that_was_fetched_stays(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert len(list(open_source(bucket).shards[0].samples())) == 2
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_fingerprint_tells_another_content_apart(bucket: str) -> None:
    before = [shard.fingerprint() for shard in open_source(bucket).shards]
    assert before == [shard.fingerprint() for shard in open_source(bucket).shards]
    fsspec.filesystem("memory").pipe("/bucket/set/00000.tar", b"shorter")
    after = [shard.fingerprint() for shard in open_source(bucket).shards]
    assert (after[0] == before[0], after[1] == before[1]) == (False, True)


def test_the_statistics_behind_a_url_belong_to_the_shard(bucket: str) -> None:
    """They count in its fingerprint, and say how many samples were lost with it."""
    system = fsspec.filesystem("memory")
    before = open_source(bucket).shards[1].fingerprint()
    system.pipe("/bucket/set/deep/00001_stats.json", b'{"successes": 40}')
    shard = open_source(bucket).shards[1]
    assert shard.fingerprint() != before
    assert [one.n_samples for one in shard.samples() if isinstance(one, BadSample)] == [39]


def test_a_network_that_fails_ends_the_run_and_is_no_damage(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, tries = open_source(bucket), list[str]()

    class Broken:
        def get_file(self, remote: str, _: str) -> None:
            tries.append(remote)
            raise OSError("connection reset")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (Broken(), url))
    with pytest.raises(TransferError, match="connection reset"):
        list(source.shards[0].samples())
    assert len(tries) == 3


def test_a_url_and_a_folder_of_the_same_files_are_the_same_source(tmp_path: Path) -> None:
    """Kinds, names, samples, and what is not indexed: one rule for both."""
    system = fsspec.filesystem("memory")
    for folder in ("tars", "tables"):
        (tmp_path / folder / "data").mkdir(parents=True)
        (tmp_path / folder / "banner.png").write_bytes(png())
        (tmp_path / folder / ".gitattributes").write_text("x")
        (tmp_path / folder / "README.md").write_text("x")
    write_tar(tmp_path / "tars" / "data" / "A.TAR", [("a.png", png(1))])
    write_tar(tmp_path / "tars" / "data" / "b.tar", [("a.png", png(2)), ("b.png", png(3))])
    packed = gzip.compress((tmp_path / "tars" / "data" / "b.tar").read_bytes())
    (tmp_path / "tars" / "data" / "b.tar.gz").write_bytes(packed)
    (tmp_path / "tars" / "data" / "b_stats.json").write_bytes(b'{"successes": 2}')
    write_table(tmp_path / "tars" / "data" / "b.parquet", url=["x"])
    write_table(tmp_path / "tables" / "data" / "train.parquet", image=[png(1), png(2)])
    write_table(tmp_path / "tables" / "data" / "about.parquet", url=["x"])
    (tmp_path / "tables" / "data" / "cut.parquet").write_bytes(b"PAR1")
    system.put(str(tmp_path / "tars"), "/agree/tars", recursive=True)
    system.put(str(tmp_path / "tables"), "/agree/tables", recursive=True)
    for folder in ("tars", "tables"):
        local, remote = open_source(tmp_path / folder), open_source(f"memory://agree/{folder}")
        assert (remote.kind, remote.unused) == (local.kind, local.unused)
        assert [shard.name for shard in remote.shards] == [shard.name for shard in local.shards]
        assert [list(shard.samples()) for shard in remote.shards] == [
            list(shard.samples()) for shard in local.shards
        ]
    system.rm("/agree", recursive=True)


def test_loose_images_behind_a_url_are_refused_by_name() -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/loose/a.png", png())
    with pytest.raises(SourceError, match=r"1 \.png: loose images behind a URL are not read"):
        open_source("memory://loose")
    system.rm("/loose", recursive=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://nowhere", "holds 0 files|does not exist"),
        ("nosuch://bucket/x", "nosuch"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused(url: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        open_source(url)
