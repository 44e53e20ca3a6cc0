"""What a worker on another machine does, without a cluster around it."""

import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from indexer.remote_worker import EncodeJob, ShardStage, weights_of
from indexer.shard_writer import ShardMarker, read_marker
from indexer.sources import open_source
from indexer.storage import SharedFolder
from scopeview.blocklist import Rules
from scopeview.errors import ConfigMismatchError, TransferError
from scopeview.model_spec import plan_recipe
from scopeview.store.files import shard_dir
from tests.command import scopeview
from tests.indexer.tiny import index_words, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `index`, made here, of the embedding alone."""
    world = write_world(tmp_path_factory.mktemp("world"))
    assert scopeview(*index_words(world, world / "index"), "--layers", "embed").code == 0
    return world


@pytest.fixture
def job(world: Path, tmp_path: Path) -> EncodeJob:
    recipe = plan_recipe(str(world / "model"), str(world / "suite"), layers=["embed"], tokens=["cls", "any"])
    return EncodeJob(
        shards=open_source(world / "source").shards,
        storage=SharedFolder(tmp_path),
        model=str(world / "model"),
        sae=str(world / "suite"),
        weights=weights_of(recipe),
        layers=recipe.layers,
        tokens=recipe.tokens,
        normalization=recipe.normalization,
        statistics={},
        device="cpu",
        dtype="float32",
        thumb_px=32,
        batch_size=4,
        rules=Rules(),
        grey_16_bit=recipe.grey_16_bit,
        n_decoders=1,
    )


def answers(stage: ShardStage, *numbers: int) -> list[object]:
    rows = pa.table({"number": numbers, "limit": [-1] * len(numbers)})
    return [pickle.loads(answer) for answer in stage(rows)["answer"].to_pylist()]


def test_one_worker_hands_over_shard_after_shard(world: Path, job: EncodeJob, tmp_path: Path) -> None:
    stage = ShardStage(job)
    assert answers(stage, 2, 0) == [read_marker(world / "index", 2), read_marker(world / "index", 0)]
    for number in (0, 2):
        for path in shard_dir(world / "index", number).iterdir():
            assert (shard_dir(tmp_path, number) / path.name).read_bytes() == path.read_bytes()


def test_a_shard_that_has_been_handed_over_is_not_encoded_again(world: Path, job: EncodeJob) -> None:
    job.storage.put_shard(1, shard_dir(world / "index", 1))
    without_weights = replace(job, model="nowhere", weights={})
    assert answers(ShardStage(without_weights), 1) == [read_marker(world / "index", 1)]


def test_a_machine_with_other_weights_says_so_and_encodes_nothing(job: EncodeJob, tmp_path: Path) -> None:
    (answer,) = answers(ShardStage(replace(job, weights={**job.weights, "the model": "0" * 64})), 0)
    assert isinstance(answer, ConfigMismatchError)
    assert "the model is another one on" in str(answer)
    assert not shard_dir(tmp_path, 0).exists()


def test_an_error_of_ours_travels_as_it_is(job: EncodeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> ShardMarker:
        raise TransferError("s3://bucket/0.tar cannot be fetched")

    monkeypatch.setattr(ShardStage, "marker", broken)
    (answer,) = answers(ShardStage(job), 0)
    assert isinstance(answer, TransferError)
    assert str(answer) == "s3://bucket/0.tar cannot be fetched"


def test_what_a_lost_worker_was_handing_over_is_no_part_of_the_index(world: Path) -> None:
    part = shard_dir(world / "index", 0).with_name("00000-0123.part")
    part.mkdir()
    assert scopeview(*index_words(world, world / "index"), "--layers", "embed").code == 0
    assert not part.exists()
