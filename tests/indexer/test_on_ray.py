"""On a cluster of two nodes the index is the one of a single machine, also when a worker is lost."""

import importlib.util
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


def on_cluster(words: list[object], **environment: object) -> subprocess.CompletedProcess[str]:
    """`scopeview WORDS...` in a cluster of its own."""
    settings = {"PYTHONPATH": str(PROJECT_DIR), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.run(
        [sys.executable, "-m", "tests.indexer.on_cluster", *map(str, words), "--engine", "ray"],
        env={**os.environ, **settings, **{name: str(value) for name, value in environment.items()}},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )


@needs_ray
def test_two_nodes_make_the_index_that_one_machine_makes(world: Path, tmp_path: Path) -> None:
    ended = on_cluster([*index_words(world, tmp_path / "index"), "--workers", "2"])
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "index") == contents(world / "local")


@needs_ray
def test_a_worker_killed_on_the_way_changes_nothing(world: Path, tmp_path: Path) -> None:
    ended = on_cluster(index_words(world, tmp_path / "index"), DEADLY=tmp_path / "killed")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "killed").exists()
    assert contents(tmp_path / "index") == contents(world / "local")


@needs_ray
def test_workers_that_share_no_folder_hand_shards_over_by_a_url(world: Path, tmp_path: Path) -> None:
    words = [*index_words(world, tmp_path / "index"), "--limit", "8"]
    ended = on_cluster([*words, "--shared", f"file://{tmp_path / 'shared'}"])
    assert ended.returncode == 0, ended.stderr
    assert scopeview(*index_words(world, tmp_path / "local"), "--limit", "8").code == 0
    assert contents(tmp_path / "index") == contents(tmp_path / "local")
    assert (tmp_path / "shared" / "shards" / "00001" / "shard.json").exists()


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'scopeview\[ray\]'"):
        on_ray.connect()
