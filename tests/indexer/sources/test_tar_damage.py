"""A damaged tar gives its readable samples and one complaint: never silence, never a crash."""

import gzip
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.sources import BadSample, Sample
from indexer.sources.webdataset import TarShard
from tests.indexer.sources.tars import bad, good, reasons, write_tar

BLOCK = tarfile.BLOCKSIZE
KEYS = ["a", "b", "c"]


def content(key: str) -> bytes:
    return key.encode() * 520


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three samples of a two-block image and a one-block text, so 5 blocks each with their headers."""
    path = tmp_path_factory.mktemp("tar") / "s.tar"
    members = [
        (f"{key}.{suffix}", body) for key in KEYS for suffix, body in (("jpg", content(key)), ("txt", b"t"))
    ]
    return write_tar(path, members).read_bytes()


END_OF_DATA = 3 * 5 * BLOCK


def test_every_cut_before_the_end_marker_is_reported_with_the_samples_before_it_intact(
    whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "s.tar"
    for cut in range(
        0, END_OF_DATA + 2 * BLOCK, 3
    ):  # 3 and 512 have no common factor: every place in a block
        path.write_bytes(whole[:cut])
        results = list(TarShard(path).samples())
        found = [(one.key, one.image, one.caption) for one in results if isinstance(one, Sample)]
        # A cut in the zero padding of the last block costs no bytes of the sample, yet may cost the sample.
        n_whole = cut // (5 * BLOCK)
        expected = [(f"s/{key}", content(key), "t") for key in KEYS]
        assert found == expected[: len(found)], cut
        assert n_whole - 1 <= len(found) <= n_whole + 1, cut
        (complaint,) = (one for one in results if isinstance(one, BadSample))
        assert complaint.reason.name == ("TRUNCATED_SHARD" if cut >= BLOCK else "UNREADABLE_SHARD"), cut
        assert "s.tar" in complaint.detail


def test_a_cut_at_the_end_of_all_data_costs_no_sample(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(whole[:END_OF_DATA])
    shard = TarShard(tmp_path / "s.tar")
    assert [sample.key for sample in good(shard)] == ["s/a", "s/b", "s/c"]
    (complaint,) = bad(shard)
    assert complaint.key == "s"
    assert f"byte {END_OF_DATA}" in complaint.detail
    assert "3 samples" in complaint.detail


def test_a_sample_whose_own_bytes_are_cut_is_named_and_not_yielded(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(whole[: 10 * BLOCK + 2 * BLOCK])
    shard = TarShard(tmp_path / "s.tar")
    assert [sample.key for sample in good(shard)] == ["s/a", "s/b"]
    assert "c is lost" in bad(shard)[0].detail


def test_a_sample_missing_a_file_that_the_others_have_is_lost_with_the_cut(
    whole: bytes, tmp_path: Path
) -> None:
    (tmp_path / "s.tar").write_bytes(whole[: 10 * BLOCK + 3 * BLOCK])  # all of c.jpg, none of c.txt
    assert [sample.key for sample in good(TarShard(tmp_path / "s.tar"))] == ["s/a", "s/b"]


def test_a_tar_without_padding_after_its_two_zero_blocks_is_whole(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(whole[: END_OF_DATA + 2 * BLOCK])
    assert reasons(TarShard(tmp_path / "s.tar")) == []


def test_a_broken_header_in_the_middle_is_a_truncation(whole: bytes, tmp_path: Path) -> None:
    broken = bytearray(whole)
    broken[5 * BLOCK : 6 * BLOCK] = b"\xff" * BLOCK
    (tmp_path / "s.tar").write_bytes(broken)
    shard = TarShard(tmp_path / "s.tar")
    assert [
        sample.key for sample in good(shard)
    ] == []  # a is the only one, so whether it is whole is unknown
    assert reasons(shard) == ["TRUNCATED_SHARD"]


def test_samples_after_zero_blocks_in_the_middle_are_not_dropped_silently(
    whole: bytes, tmp_path: Path
) -> None:
    (tmp_path / "s.tar").write_bytes(whole + whole)
    shard = TarShard(tmp_path / "s.tar")
    assert [sample.key for sample in good(shard)] == ["s/a", "s/b", "s/c"]
    assert "more data follows" in bad(shard)[0].detail


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("empty", b""),
        ("text", b"not a tar at all\n" * 100),
        ("gzip of a tar", gzip.compress(b"\0" * 10240, mtime=0)),
        ("gzip cut short", gzip.compress(b"x" * 10240, mtime=0)[:20]),
        ("a pax header of 4 GB", tarfile.TarInfo("a").tobuf()),
    ],
)
def test_what_is_no_tar_is_an_unreadable_shard(name: str, damaged: bytes, tmp_path: Path) -> None:
    if name.startswith("a pax"):
        header = tarfile.TarInfo("a")
        header.type, header.size = tarfile.XHDTYPE, 4 * 1024**3
        damaged = header.tobuf(tarfile.USTAR_FORMAT)
    (tmp_path / "s.tar").write_bytes(damaged)
    assert reasons(TarShard(tmp_path / "s.tar")) == ["UNREADABLE_SHARD"]


def test_a_shard_that_has_gone_is_unreadable(tmp_path: Path) -> None:
    assert reasons(TarShard(tmp_path / "gone.tar")) == ["UNREADABLE_SHARD"]


def test_a_negative_size_does_not_lead_back_for_ever(whole: bytes, tmp_path: Path) -> None:
    header = bytearray(whole[5 * BLOCK : 6 * BLOCK])
    header[124:136] = b"\xff" * 10 + b"\xf6\x00"  # base 256, -2560: back to the first member
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "s.tar").write_bytes(whole[: 5 * BLOCK] + header + whole[6 * BLOCK :])
    assert reasons(TarShard(tmp_path / "s.tar"))[-1] == "TRUNCATED_SHARD"


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, END_OF_DATA - 1), what=st.binary(min_size=1, max_size=40))
def test_any_damage_is_survived(whole: bytes, tmp_path: Path, where: int, what: bytes) -> None:
    damaged = bytearray(whole)
    damaged[where : where + len(what)] = what
    (tmp_path / "s.tar").write_bytes(damaged)
    shard = TarShard(tmp_path / "s.tar")
    found = list(shard.samples())
    assert found == list(shard.samples())
    assert len(good(shard)) <= 6
    assert len(good(shard)) == 3 or bad(shard)
