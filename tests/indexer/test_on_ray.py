"""On a cluster of two nodes the index is the one of a single machine, also when a worker is lost."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexer import on_ray
from indexer.on_ray import RaySettings, shard_limits, workers_of
from indexer.sources import open_source
from scopeview.errors import InputError
from tests.command import scopeview
from tests.conftest import PROJECT_DIR
from tests.indexer.on_cluster import N_RETRIES
from tests.indexer.test_resume import contents
from tests.indexer.tiny import index_words, write_world

TIMEOUT_S = 900
"""Two minutes where nothing else runs; only a cluster that hangs takes this long."""
LIMIT = ("--limit", "8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_world(tmp_path_factory.mktemp("world"))
    assert scopeview(*index_words(folder, folder / "local")).code == 0
    return folder


@pytest.fixture(scope="module")
def made(world: Path) -> Path:
    """What one cluster made: `shared`, by a URL, and `killed`, with a limit and a worker lost.

    And what it could not: `deadly`, of a shard that ends whoever reads it. `said` is what it said.
    """
    folder = world / "made"
    folder.mkdir()
    words = {
        "shared": [*index_words(world, folder / "shared"), "--shared-storage", f"file://{folder / 'bucket'}"],
        "killed": [*index_words(world, folder / "killed"), *LIMIT],
        "deadly": [*index_words(world, folder / "deadly"), *LIMIT],
    }
    commands = [
        {
            "words": [*map(str, command), "--engine", "ray", "--workers", "2"],
            "deadly": None if name == "shared" else str(folder / f"{name}-flag"),
            "always": name == "deadly",
        }
        for name, command in words.items()
    ]
    settings = {
        "PYTHONPATH": str(PROJECT_DIR),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_failure_threshold": "50",  # a node of a busy machine is slow, not dead
        "RAY_worker_niceness": "0",  # Ray's own would keep them waiting for whatever else the machine does
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.indexer.on_cluster", json.dumps(commands)],
        env={**os.environ, **settings},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert ended.stdout.splitlines()[-1:] == ["[0, 0, 1]"], ended.stderr
    (folder / "said").write_text(ended.stderr)
    return folder


def test_two_nodes_that_share_a_url_make_the_index_that_one_machine_makes(world: Path, made: Path) -> None:
    assert contents(made / "shared") == contents(world / "local")
    assert len(list((made / "bucket").glob("*/shards/*/shard.json"))) == 3


def test_a_worker_killed_on_the_way_changes_nothing(world: Path, made: Path) -> None:
    assert scopeview(*index_words(world, world / "limited"), *LIMIT).code == 0
    assert (made / "killed-flag").read_text() == "x"
    assert contents(made / "killed") == contents(world / "limited")


def test_a_shard_that_ends_every_worker_ends_the_run(made: Path) -> None:
    assert (made / "deadly-flag").read_text() == "x" * (1 + N_RETRIES)
    said = (made / "said").read_text().splitlines()[-1]
    assert f"gave up after {1 + N_RETRIES} lost workers" in said
    assert "Unfinished: 00001" in said
    assert not (made / "deadly" / "manifest.json").exists()


def test_as_many_workers_are_started_as_machines_have_room_for() -> None:
    two_nodes = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 2.0}]
    assert workers_of(RaySettings(), two_nodes, n_shards=100) == 7  # one core is left to Ray itself
    assert workers_of(RaySettings(), two_nodes, n_shards=3) == 3
    assert workers_of(RaySettings(gpus_per_worker=1.0), two_nodes, n_shards=100) == 3
    assert workers_of(RaySettings(gpus_per_worker=2.0), two_nodes, n_shards=100) == 1
    assert workers_of(RaySettings(gpus_per_worker=0.5), two_nodes, n_shards=100) == 6
    assert workers_of(RaySettings(n_workers=20), two_nodes, n_shards=100) == 20


def test_a_worker_that_no_machine_has_room_for_is_refused_instead_of_waited_for() -> None:
    with pytest.raises(InputError, match="needs 2 GPU, and no machine of the cluster has more than 1"):
        workers_of(RaySettings(gpus_per_worker=2.0), [{"GPU": 1.0}, {"GPU": 1.0}], n_shards=5)
    with pytest.raises(InputError, match="needs 1 GPU, and no machine of the cluster has more than 0"):
        workers_of(RaySettings(gpus_per_worker=1.0), [{"CPU": 8.0}], n_shards=5)
    with pytest.raises(InputError, match=r"--gpus-per-worker is 1\.5"):
        RaySettings(gpus_per_worker=1.5)


def test_a_limit_is_shared_out_over_shards_in_their_order(world: Path) -> None:
    shards = open_source(world / "source").shards
    assert shard_limits(shards, None) == [-1, -1, -1]
    assert shard_limits(shards, 8) == [8, 2, 0]


def test_what_only_a_cluster_needs_is_refused_without_one(world: Path) -> None:
    ended = scopeview(*index_words(world, world / "refused"), "--shared-storage", "s3://bucket/x")
    assert (ended.code, "--engine ray" in ended.err) == (2, True)


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'scopeview\[ray\]'"):
        on_ray.connect()
