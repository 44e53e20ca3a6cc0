"""On a cluster of two nodes the index is the one of a single machine, also when a worker is lost."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexer import on_ray
from scopeview.errors import InputError
from tests.command import scopeview
from tests.conftest import PROJECT_DIR
from tests.indexer.test_resume import contents
from tests.indexer.tiny import index_words, write_world

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed (pip install 'scopeview[ray]')")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_world(tmp_path_factory.mktemp("world"))
    assert scopeview(*index_words(folder, folder / "local")).code == 0
    return folder


@pytest.fixture(scope="module")
def made(world: Path) -> Path:
    """A folder of indexes that one cluster made: `two`, `killed` (with a worker lost) and `shared`."""
    folder = world / "made"
    folder.mkdir()
    words = {
        "two": [*index_words(world, folder / "two"), "--workers", "2"],
        "killed": index_words(world, folder / "killed"),
        "shared": [
            *index_words(world, folder / "shared"),
            *("--limit", "8", "--shared", f"file://{folder / 'bucket'}"),
        ],
    }
    commands = [
        {
            "words": [*map(str, command), "--engine", "ray"],
            "deadly": str(folder / "flag") if name == "killed" else None,
        }
        for name, command in words.items()
    ]
    settings = {"PYTHONPATH": str(PROJECT_DIR), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.indexer.on_cluster", json.dumps(commands)],
        env={**os.environ, **settings},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[-1:] == ["[0, 0, 0]"], ended.stderr
    return folder


@needs_ray
def test_two_nodes_make_the_index_that_one_machine_makes(world: Path, made: Path) -> None:
    assert contents(made / "two") == contents(world / "local")


@needs_ray
def test_a_worker_killed_on_the_way_changes_nothing(world: Path, made: Path) -> None:
    assert (made / "flag").exists()
    assert contents(made / "killed") == contents(world / "local")


@needs_ray
def test_workers_that_share_no_folder_hand_shards_over_by_a_url(world: Path, made: Path) -> None:
    assert scopeview(*index_words(world, world / "limited"), "--limit", "8").code == 0
    assert contents(made / "shared") == contents(world / "limited")
    assert (made / "bucket" / "shards" / "00001" / "shard.json").exists()


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'scopeview\[ray\]'"):
        on_ray.connect()
