"""Synthetic indexes: their codes look like codes, and what is made of them is an index like any other."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.synthetic.codes import law_of, random_codes
from bench.synthetic.index import make
from bench.synthetic.spec import Spec
from indexer.verify import verify
from scopeview.errors import ConfigMismatchError
from scopeview.slots import Slot
from scopeview.store.files import MANIFEST
from scopeview.store.manifest import read_manifest, write_manifest
from scopeview.store.reader import IndexReader

CLS, ANY = Slot(2, "cls"), Slot(2, "any")
SMALL = Spec(
    250, (2, 5), ("cls", "any"), n_features=40, k=4, images_per_shard=100, projection_dim=16, own_grids=True
)
TABLES = ("images", "features", "codes", "activations", "described.features", "described.neighbors")


@pytest.fixture(scope="module")
def index_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "small"
    make(folder, SMALL, "small")
    return folder


def test_codes_hold_k_different_features_strongest_first() -> None:
    codes = random_codes(law_of(CLS, 500, seed=0), CLS, 200, 8, seed=0, shard=0)
    assert codes.lengths.tolist() == [8] * 200
    features, values = codes.features.reshape(200, 8), codes.values.reshape(200, 8)
    assert all(len(set(row)) == 8 for row in features.tolist())
    assert (np.diff(values) <= 0).all()
    assert (values > 0).all()
    assert codes.positions is None


def test_codes_at_any_are_longer_and_say_where() -> None:
    codes = random_codes(law_of(ANY, 500, seed=0), ANY, 200, 8, seed=0, shard=0)
    assert codes.lengths.min() >= 16
    assert codes.lengths.max() <= 48
    assert codes.positions is not None
    assert 0 <= codes.positions.min() <= codes.positions.max() <= 256


def test_few_features_fire_often_and_some_never() -> None:
    codes = random_codes(law_of(CLS, 5000, seed=0), CLS, 4000, 8, seed=0, shard=0)
    counts = np.sort(np.bincount(codes.features, minlength=5000))[::-1]
    assert counts[:50].sum() > 0.15 * counts.sum()
    assert (counts == 0).sum() >= 100


def test_the_same_seed_gives_the_same_codes_and_another_shard_others() -> None:
    law = law_of(CLS, 500, seed=3)
    first, again, other = (random_codes(law, CLS, 50, 8, seed=3, shard=shard) for shard in (0, 0, 1))
    assert np.array_equal(first.features, again.features)
    assert not np.array_equal(first.features, other.features)


def test_all_but_its_descriptions_is_what_it_would_be_in_earnest(index_dir: Path, tmp_path: Path) -> None:
    undescribed = tmp_path / "undescribed"
    shutil.copytree(index_dir, undescribed)
    write_manifest(
        undescribed, read_manifest(undescribed).model_copy(update={"describe": None, "files": None})
    )
    assert verify(undescribed) == ["run.json is missing: the index can be served, but takes no uploads"]


def test_its_features_have_names_neighbors_and_vectors(index_dir: Path) -> None:
    with IndexReader(index_dir) as reader:
        assert reader.manifest.n_images == 250
        assert reader.manifest.model.random_weights
        card = reader.gallery(CLS, sort="density", limit=1).cards[0]
        description = reader.description(CLS, card.feature)
        assert description is not None
        assert description.names[0].word == card.name
        assert len(description.folds) == len(reader.feature(2, card.feature).top_images)
        assert {neighbor.layer for neighbor in description.across} == {5}
        assert reader.search.images().nearest(reader.embedding(7), 1)[0].number == 7


def test_one_that_was_interrupted_is_finished(index_dir: Path, tmp_path: Path) -> None:
    interrupted = tmp_path / "small"
    shutil.copytree(index_dir, interrupted)
    (interrupted / MANIFEST).unlink()
    shutil.rmtree(interrupted / "shards" / "00001")
    (interrupted / SMALL.database).unlink()
    make(interrupted, SMALL, "small")
    assert contents(interrupted) == contents(index_dir)


def contents(index_dir: Path) -> list[list[tuple[object, ...]]]:
    with IndexReader(index_dir) as reader:
        return [reader.sql(f"SELECT * FROM {table}") for table in TABLES]


def test_a_folder_of_another_spec_is_refused(index_dir: Path) -> None:
    with pytest.raises(ConfigMismatchError, match="choose another folder"):
        make(index_dir, Spec(10, (2,), ("cls",), n_features=40, k=4), "small")
