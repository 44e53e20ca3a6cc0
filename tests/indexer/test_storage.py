"""Shards and slots handed over by workers on other machines: through a shared folder, or any fsspec URL."""

import re
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from indexer.build import BuildPlan, LayerWidth, build_slot, slot_parts
from indexer.remote_worker import build_slot_remote
from indexer.shard_writer import read_marker
from indexer.storage import Remote, SharedFolder, Storage, check_shared_storage, storage_for
from scopeview.errors import InputError
from scopeview.slots import Slot
from scopeview.store.files import shard_dir
from tests.command import scopeview
from tests.indexer.tiny import N_FEATURES, N_SHARDS, K, index_words, write_world

SLOT = Slot("embed", "cls")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished index."""
    world = write_world(tmp_path_factory.mktemp("world"))
    assert scopeview(*index_words(world, world / "index"), "--layers", "embed").code == 0
    return world / "index"


@pytest.fixture(params=["folder", "url"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "folder":
        yield SharedFolder(tmp_path / "shared")
        return
    yield Remote("memory://bucket/index")
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def hand_over(made: Path, storage: Storage) -> None:
    for number in range(N_SHARDS):
        storage.put_shard(number, shard_dir(made, number))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_shard_arrives_whole_its_marker_last(made: Path, storage: Storage, tmp_path: Path) -> None:
    assert storage.marker(1) is None
    hand_over(made, storage)
    hand_over(made, storage)  # a worker was lost after it had handed over: the first one stays
    assert storage.marker(1) == read_marker(made, 1)
    names = storage.shard_names(1)
    assert names[-1] == "shards/00001/shard.json"
    storage.get(names, tmp_path / "here")
    assert files(tmp_path / "here" / "shards" / "00001") == files(shard_dir(made, 1))


def test_a_slot_worked_out_elsewhere_is_the_one_worked_out_here(
    made: Path, storage: Storage, tmp_path: Path
) -> None:
    hand_over(made, storage)
    markers = [marker for number in range(N_SHARDS) if (marker := read_marker(made, number))]
    plan = BuildPlan(tmp_path / "here", markers, [SLOT], {"embed": LayerWidth(N_FEATURES, K)})
    build_slot_remote(plan, SLOT, storage)
    names = [path.relative_to(plan.index_dir).as_posix() for path in slot_parts(plan, SLOT)]
    storage.get(names, plan.index_dir)
    local = BuildPlan(tmp_path / "local", markers, [SLOT], {"embed": LayerWidth(N_FEATURES, K)})
    SharedFolder(made).get(
        [name for n in range(N_SHARDS) for name in SharedFolder(made).shard_names(n)], local.index_dir
    )
    build_slot(local, SLOT)
    for here, there in zip(slot_parts(plan, SLOT), slot_parts(local, SLOT), strict=True):
        assert here.read_bytes() == there.read_bytes()


def test_without_a_url_the_index_itself_is_what_all_see(tmp_path: Path) -> None:
    assert storage_for(tmp_path, None, "run") == SharedFolder(tmp_path.resolve())


def test_two_runs_that_share_a_url_do_not_share_shards(made: Path, tmp_path: Path) -> None:
    first, second = (storage_for(tmp_path, "memory://bucket/x/", run) for run in ("first", "second"))
    first.put_shard(0, shard_dir(made, 0))
    assert first.marker(0) is not None
    assert second.marker(0) is None
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


@pytest.mark.parametrize("shared", ["/mnt/all", "nowhere://bucket/x"])
def test_what_cannot_be_shared_is_refused_by_name(shared: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"--shared-storage {shared} ")):
        check_shared_storage(shared)


def test_half_a_shard_gives_way_to_a_whole_one(made: Path, tmp_path: Path) -> None:
    """A run that fetched it from a URL was stopped, and the next one shares the folder itself."""
    half = shard_dir(tmp_path, 0)
    half.mkdir(parents=True)
    (half / "images.parquet").write_bytes(b"PAR1")
    SharedFolder(tmp_path).put_shard(0, shard_dir(made, 0))
    assert files(half) == files(shard_dir(made, 0))
