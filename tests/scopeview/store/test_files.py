"""Files are written aside: a name that exists holds a whole file."""

import json
import math
from pathlib import Path

import pytest

from scopeview.slots import Slot
from scopeview.store.files import atomic_write, grid_pack, shard_dir, write_json


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as part:
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a longer one that was there before")
    with path.open() as reader:
        with atomic_write(path) as part:
            part.write_text("new")
        assert reader.read() == "a longer one that was there before"  # who has it open keeps the old one
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way() -> None:
        with atomic_write(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="folder"), atomic_write(path) as part:
        part.write_text("whole")
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_text("half of an earlier run")
    with atomic_write(tmp_path / "file") as part:
        assert not part.exists()
        part.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "file.json", {})
    assert (tmp_path / "a" / "b" / "file.json").read_text() == "{}\n"


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "1.json", {"b": [1, None], "a": "é"})
    write_json(tmp_path / "2.json", {"a": "é", "b": [1, None]})
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert json.loads((tmp_path / "1.json").read_bytes()) == {"a": "é", "b": [1, None]}


def test_a_number_that_json_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"loss": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_names_in_an_index(tmp_path: Path) -> None:
    assert shard_dir(tmp_path, 7) == tmp_path / "shards" / "00007"
    assert grid_pack(tmp_path, Slot("embed", "cls")) == tmp_path / "grids" / "embed-cls.pack"
