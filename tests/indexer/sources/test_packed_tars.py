"""Compressed tars give the samples of plain ones, and are as strict about their end."""

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.sources import Sample, open_source
from indexer.sources.webdataset import TarShard
from scopeview.errors import DiskFullError
from tests.indexer.sources.tars import bad, good, png, reasons, write_tar

N = 6


@pytest.fixture
def plain(tmp_path: Path) -> bytes:
    members = [(f"{i}.{suffix}", body) for i in range(N) for suffix, body in (("png", png(i)), ("txt", b"t"))]
    return write_tar(tmp_path / "plain.tar", members).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "a.tar.gz": gzip.compress,
    "a.tgz": gzip.compress,
    "a.TAR.GZ": gzip.compress,
    "a.tar.bz2": bz2.compress,
    "a.tar.xz": lzma.compress,
}


@pytest.mark.parametrize("name", PACKERS)
def test_a_compressed_tar_gives_the_samples_of_a_plain_one(plain: bytes, folder: Path, name: str) -> None:
    (folder / name).write_bytes(PACKERS[name](plain))
    (folder / "0.tar").write_bytes(plain)
    first, packed = open_source(folder).shards
    assert [(s.key[2:], s.image, s.caption) for s in good(packed)] == [
        (s.key[2:], s.image, s.caption) for s in good(first)
    ]
    assert (len(good(packed)), reasons(packed)) == (N, [])
    assert packed.name == "a"


def test_a_plain_and_a_compressed_tar_of_one_name_are_two_shards(plain: bytes, folder: Path) -> None:
    (folder / "a.tar").write_bytes(plain)
    (folder / "a.tar.gz").write_bytes(gzip.compress(plain))
    keys = [sample.key for shard in open_source(folder).shards for sample in good(shard)]
    assert len(set(keys)) == 2 * N


def test_a_compressed_tar_cut_short_gives_what_came_before(plain: bytes, folder: Path) -> None:
    path = folder / "a.tar.gz"
    whole = gzip.compress(plain, compresslevel=0)
    for cut in range(0, len(whole), 499):
        path.write_bytes(whole[:cut])
        (complaint,) = bad(TarShard(path))
        assert complaint.reason.name in ("TRUNCATED_SHARD", "UNREADABLE_SHARD"), cut
    assert len(good(TarShard(path))) >= N - 1


def test_a_checksum_that_does_not_agree_is_reported(plain: bytes, folder: Path) -> None:
    path = folder / "a.tar.gz"
    whole = bytearray(gzip.compress(plain))
    whole[-8] ^= 1
    path.write_bytes(whole)
    (complaint,) = bad(TarShard(path))
    assert "its compression breaks off (CRC check failed" in complaint.detail


def test_what_is_not_compressed_as_its_name_says_is_unreadable(plain: bytes, folder: Path) -> None:
    (folder / "a.tar.gz").write_bytes(plain)
    (complaint,) = bad(TarShard(folder / "a.tar.gz"))
    assert "Not a gzipped file" in complaint.detail
    assert reasons(TarShard(folder / "gone.tar.gz")) == ["UNREADABLE_SHARD"]


def test_a_file_made_to_fill_a_disk_is_left_early(
    plain: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.sources.unpack._FREE_BYTES", 100_000)
    (folder / "a.tar.gz").write_bytes(gzip.compress(plain + bytes(100 * 1024**2)))
    (complaint,) = bad(TarShard(folder / "a.tar.gz"))
    assert "far more than images would" in complaint.detail


def test_a_full_disk_is_no_damage_of_the_shard(
    plain: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.tar.gz").write_bytes(gzip.compress(plain))

    class Full:
        def __init__(self, **_: Any) -> None: ...
        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None: ...
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", Full)
    with pytest.raises(DiskFullError, match="No space left on device"):
        list(TarShard(folder / "a.tar.gz").samples())


def test_nothing_that_was_unpacked_stays(
    plain: bytes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (folder / "a.tar.gz").write_bytes(gzip.compress(plain))
    assert all(isinstance(one, Sample) for one in TarShard(folder / "a.tar.gz").samples())
    assert list((tmp_path / "tmp").iterdir()) == []
