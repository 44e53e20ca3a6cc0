"""Packs: what was put in under a number comes out under it, and a torn pack is refused."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.errors import IndexFormatError
from scopeview.store.pack import Pack, offsets_path, open_npy, write_pack


def pack_of(folder: Path, blobs: Sequence[bytes | None]) -> Pack:
    write_pack(folder / "some.pack", blobs)
    return Pack(folder / "some.pack")


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@given(st.lists(st.none() | st.binary(max_size=20)))
def test_every_blob_comes_back_under_its_number_and_an_empty_one_is_none(blobs: list[bytes | None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(Path(folder), blobs)
        assert len(pack) == len(blobs)
        assert [pack.read(number) for number in range(len(pack))] == [blob or None for blob in blobs]
        pack.close()


def test_numbers_out_of_range_are_none(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [b"only"])
    assert [pack.read(number) for number in (-1, 0, 1, 10**12)] == [None, b"only", None, None]


def test_the_files_are_blobs_end_to_end_and_their_int64_offsets(tmp_path: Path) -> None:
    pack_of(tmp_path, [b"ab", None, b"cde"])
    assert (tmp_path / "some.pack").read_bytes() == b"abcde"
    offsets = np.load(tmp_path / "some.offsets.npy")
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, 2, 2, 5]


def test_threads_read_one_pack_without_seeing_each_others_blobs(tmp_path: Path) -> None:
    blobs = [str(number).encode() * 1000 for number in range(200)]
    pack = pack_of(tmp_path, blobs)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pack.read, [*range(200)] * 10)) == blobs * 10


def test_a_pack_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def blobs() -> Iterator[bytes]:
        yield b"first"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_pack(tmp_path / "some.pack", blobs())
    assert list(tmp_path.iterdir()) == []


def test_a_pack_in_a_place_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "some.pack.part").mkdir()
    with pytest.raises(OSError, match=r"some\.pack\.part"):
        write_pack(tmp_path / "some.pack", [b"blob"])
    assert [path.name for path in tmp_path.iterdir()] == ["some.pack.part"]


@pytest.mark.parametrize("missing", ["some.pack", "some.offsets.npy"])
def test_a_missing_file_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    pack_of(tmp_path, [b"blob"])
    (tmp_path / missing).unlink()
    with pytest.raises(IndexFormatError, match=r"some\.pack: not a readable pack"):
        Pack(tmp_path / "some.pack")


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([0, 2, 4]),  # the pack has three bytes
        np.array([1, 2, 3]),
        np.array([0, 4, 3]),  # backwards
        np.array([0.0, 3.0]),
        np.array([[0], [3]]),
        np.array(3),
        np.array([], dtype=np.int64),
    ],
)
def test_offsets_that_do_not_cut_the_pack_end_to_end_are_refused(tmp_path: Path, offsets: np.ndarray) -> None:
    pack_of(tmp_path, [b"abc"])
    np.save(offsets_path(tmp_path / "some.pack"), offsets)
    with pytest.raises(IndexFormatError, match=r"some\.offsets\.npy"):
        Pack(tmp_path / "some.pack")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x80\x04."])
def test_offsets_that_are_no_array_are_refused(tmp_path: Path, content: bytes) -> None:
    pack_of(tmp_path, [b"abc"])
    offsets_path(tmp_path / "some.pack").write_bytes(content)
    with pytest.raises(IndexFormatError, match="rebuild the index"):
        Pack(tmp_path / "some.pack")


def test_packs_that_are_dropped_do_not_keep_their_files_open(tmp_path: Path) -> None:
    pack_of(tmp_path, [b"blob"])
    before = open_files()
    for _ in range(50):
        assert Pack(tmp_path / "some.pack").read(0) == b"blob"
    assert open_files() <= before + 1


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [b"blob"])
    pack.close()
    pack.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "seven.npy", np.arange(7))
    return tmp_path / "seven.npy"


def test_one_header_is_read_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading: list[Path] = []
    most: list[int] = []
    load = np.load

    def slow_load(path: Path, **how: Any) -> object:
        reading.append(path)
        time.sleep(0.01)
        most.append(len(reading))
        reading.remove(path)
        return load(path, **how)

    monkeypatch.setattr(np, "load", slow_load)
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda _: int(open_npy(path).sum()), range(12)))
    assert sums == [21] * 12
    assert most == [1] * 12


def test_what_is_opened_cannot_be_changed(path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_npy(path)[0] = 1
