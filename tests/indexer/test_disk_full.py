"""A disk that runs full stops a run with one line: which file, and how much was missing."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.disk_space import building_needs, disk_full_guard, encoding_needs, is_disk_full
from scopeview.errors import DiskFullError, ScopeviewError
from scopeview.store.files import naming, write_json
from tests.command import Ended, scopeview_until
from tests.indexer.test_resume import contents
from tests.indexer.tiny import index_words, write_world


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that can be made larger; only root can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system of its own takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_where_the_estimate_would_have_fitted_nothing_is_said_to_be_missing(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    expected = pytest.raises(DiskFullError, match=r"though about 55\.1 kB were expected to suffice")
    with expected as caught, disk_full_guard(tmp_path, lambda: min(55_100, free)):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert "missing" not in str(caught.value)


def test_a_run_that_finds_the_disk_full_again_and_again_ends_as_if_it_never_was(
    tmp_path: Path, small_disk: Path
) -> None:
    world = write_world(tmp_path / "world")
    assert scopeview_until(None, tmp_path / "log", *index_words(world, tmp_path / "whole")).code == 0
    words = index_words(world, small_disk / "index")
    stops: list[Ended] = []
    for size_kb in (200, 330, 700, 1400, 2800, 4000, 8000, 64000):
        resize = ["mount", "-o", f"remount,size={size_kb}k", str(small_disk)]
        subprocess.run(resize, check=True)
        ended = scopeview_until(None, tmp_path / "log", *words)
        if ended.code == 0:
            break
        stops.append(ended)
    assert ended.code == 0, ended.err
    assert len(stops) >= 3
    for stop in stops:
        assert stop.code == 1, stop.err
        line = stop.err.splitlines()[-1]
        assert line.startswith(f"scopeview: {small_disk / 'index'}/"), stop.err
        assert "the disk is full (" in line
        assert " are missing)" in line or "needs more than the " in line
        assert "run the same command again to resume" in line
        assert "Traceback" not in stop.err
    assert len({stop.err.splitlines()[-1].split(": ")[1] for stop in stops}) >= 2  # stages, not one of them
    assert contents(small_disk / "index") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        OSError("16384 requested and 4096 written"),  # NumPy
        RuntimeError("write error in index.faiss: 3 != 9 (No space left on device)"),
        ValueError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'),
        ScopeviewError(
            "building 1-cls failed: ... This limit was set by the 'max_temp_directory_size' setting."
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_however_a_library_says_it_a_full_disk_is_one(tmp_path: Path, error: Exception) -> None:
    assert is_disk_full(error)
    expected = pytest.raises(
        DiskFullError, match=r"codes\.parquet: the disk is full.* about \d+\.\d GB are missing"
    )
    with expected, disk_full_guard(tmp_path, lambda: 10**18), naming(tmp_path / "codes.parquet"):
        raise error


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), ValueError("no such layer")])
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error.args[-1])), disk_full_guard(tmp_path, lambda: None):
        raise error


def test_the_cause_of_an_error_counts_and_names_the_file(tmp_path: Path) -> None:
    def write() -> None:
        try:
            with naming(tmp_path / "thumbs.pack"):
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the writer ended") from error

    expected = pytest.raises(DiskFullError, match=r"thumbs\.pack: .*needs more than the ")
    with expected, disk_full_guard(tmp_path, lambda: None):
        write()


def test_what_is_still_needed_is_reckoned_from_finished_shards(tmp_path: Path) -> None:
    assert encoding_needs(tmp_path, 10) is None
    for number, size in ((0, 100), (1, 300)):
        folder = tmp_path / "shards" / f"{number:05d}"
        folder.mkdir(parents=True)
        (folder / "codes-1-cls.parquet").write_bytes(bytes(size))
        write_json(folder / "shard.json", {})
    n_bytes = 400 + sum(path.stat().st_size for path in tmp_path.rglob("shard.json"))
    assert encoding_needs(tmp_path, 10) == 8 * n_bytes // 2
    assert building_needs(tmp_path) == 3 * 400
    np.save(tmp_path / "other.npy", np.zeros(3))
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "1-cls.features.parquet").write_bytes(bytes(1000))
    assert building_needs(tmp_path) == 200
