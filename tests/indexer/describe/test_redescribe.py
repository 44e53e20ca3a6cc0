"""A finished index is described again: other words, the rest as it was, and never a moment without."""

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

from indexer.describe.plan import DescribeSettings
from indexer.describe.redescribe import describe_index
from indexer.pipeline import run_index
from indexer.verify import verify
from scopeview.errors import ConfigMismatchError, InputError
from scopeview.slots import EMBED, Slot
from scopeview.store.feature_rows import rows_dir, slot_rows
from scopeview.store.files import image_vectors
from scopeview.store.manifest import read_manifest, write_manifest
from scopeview.store.pack import offsets_path
from scopeview.store.reader import IndexReader
from tests.command import Moment, scopeview, scopeview_until
from tests.indexer.describe.small import N_IMAGES, WORDS, request, write_world
from tests.older import change_json, with_new_checksums, without_checksums

OTHER_WORDS = ["dog", "cat", "a photo of a dog"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_world(tmp_path_factory.mktemp("world"))
    (folder / "other.txt").write_text("\n".join(OTHER_WORDS))
    run_index(request(folder, folder / "index", tokens=("cls", "5")))
    return folder


@pytest.fixture
def index(world: Path, tmp_path: Path) -> Path:
    """A copy of one finished index, that may be changed."""
    return Path(shutil.copytree(world / "index", tmp_path / "index"))


def rows(index_dir: Path, columns: str, table: str) -> list[tuple[object, ...]]:
    with IndexReader(index_dir) as reader:
        return reader.sql(f"SELECT {columns} FROM described.{table}")


def test_other_words_change_the_names_and_nothing_else(world: Path, index: Path, tmp_path: Path) -> None:
    before = read_manifest(index)
    after = describe_index(index, world / "other.txt")
    assert read_manifest(index) == after
    assert before.describe is not None
    assert after.describe is not None
    assert after.model_copy(update={"describe": before.describe, "files": before.files}) == before
    assert [path.name for path in index.glob("described-*")] == [after.describe.database]
    assert list(index.glob("rows-*")) == [rows_dir(index, after.describe.database)]
    assert not (index / "build").exists()
    names = {word for (words,) in rows(index, "names", "features") for word in words}  # type: ignore[attr-defined]
    assert names == set(OTHER_WORDS)
    scratch = tmp_path / "scratch"
    run_index(request(world, scratch, tokens=("cls", "5"), vocabulary=world / "other.txt"))
    for table in ("features", "neighbors", "places", "words", "means"):
        assert rows(index, "*", table) == rows(scratch, "*", table)
    assert verify(index) == []


def test_the_same_words_again_change_nothing(world: Path, index: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in index.glob("described-*")}
    assert describe_index(index, world / "words.txt") == read_manifest(world / "index")
    assert {path: path.stat().st_mtime_ns for path in index.glob("described-*")} == before


def test_a_run_with_other_words_is_refused_by_name_and_described_again_accepted(
    world: Path, index: Path
) -> None:
    other = request(world, index, tokens=("cls", "5"), vocabulary=world / "other.txt")
    with pytest.raises(ConfigMismatchError, match="begun with another vocabulary"):
        run_index(other)
    described = describe_index(index, world / "other.txt")
    assert run_index(other) == described


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        Moment("indexer.describe.stages.DescribeStages.write_names", 2),
        Moment("indexer.describe.redescribe.write_manifest", 1),
        Moment("indexer.describe.redescribe.remove_stale_files", 1),
    ],
    ids=str,
)
def test_killed_at_any_moment_it_stays_readable_and_the_same_command_finishes(
    world: Path, index: Path, tmp_path: Path, moment: Moment
) -> None:
    words = ("describe", index, "--vocabulary", world / "other.txt")
    assert scopeview_until(moment, tmp_path / "log", *words).code == -9
    assert verify(index) == []
    assert scopeview(*words).code == 0
    assert [path.name for path in index.glob("described-*")] == [described(index)]
    assert verify(index) == []


def test_an_index_of_version_1_gets_descriptions(world: Path, index: Path) -> None:
    older = read_manifest(index).model_copy(update={"version": 1, "describe": None, "files": None})
    write_manifest(index, older)
    shutil.rmtree(index / "vectors")
    for path in index.glob("described-*"):
        path.unlink()
    with IndexReader(index) as reader:
        assert reader.description(Slot(1, "cls"), 0) is None
    assert describe_index(index, world / "words.txt").version == 3
    assert rows(index, "*", "features") == rows(world / "index", "*", "features")


def test_a_model_without_a_tokenizer_gives_no_names_and_says_so(world: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(world / "model", model, ignore=shutil.ignore_patterns("tokenizer*"))
    asked = request(world, tmp_path / "index", tokens=("cls",), layers=[EMBED])
    manifest = run_index(type(asked)(**{**vars(asked), "model": str(model)}))
    assert manifest.describe is not None
    assert manifest.describe.vocabulary is None
    assert manifest.describe.without_names == "the model's folder has no tokenizer"
    report = json.loads((tmp_path / "index" / "report.json").read_bytes())
    assert report["without_names"] == manifest.describe.without_names
    with IndexReader(tmp_path / "index") as reader:
        cards = reader.gallery(Slot(EMBED, "cls"), sort="score").cards
        assert cards
        assert all(card.name is None and card.clarity is not None for card in cards)
    assert verify(tmp_path / "index") == []
    assert "no tokenizer" in scopeview("info", tmp_path / "index").out


def test_very_many_images_are_searched_by_cells(
    world: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.describe.stages.EXACT_BELOW", N_IMAGES)
    image_vectors(index).unlink()
    describe_index(index, world / "other.txt")
    with IndexReader(index) as reader:
        images = reader.search.images()
        assert (images.kind, len(images)) == ("ivf", N_IMAGES)
        assert images.nearest(reader.embedding(5).astype(np.float32), 1)[0].cosine > 0.999


def test_an_index_described_before_there_were_rows_gets_them(world: Path, index: Path) -> None:
    database = described(index)
    shutil.rmtree(rows_dir(without_checksums(index), database))
    written = (index / database).stat().st_mtime_ns
    with IndexReader(index) as reader:
        before = reader.description(Slot(1, "cls"), 0)
    describe_index(index, world / "words.txt")
    assert (index / database).stat().st_mtime_ns == written
    assert slot_rows(index, database, Slot(1, "cls")).is_file()
    with IndexReader(index) as reader:
        assert reader.description(Slot(1, "cls"), 0) == before


def test_verify_finds_rows_of_other_features(index: Path) -> None:
    here, there = (slot_rows(index, described(index), Slot(1, token)) for token in ("cls", "5"))
    here.write_bytes(there.read_bytes())
    offsets_path(here).write_bytes(offsets_path(there).read_bytes())
    assert any("its row does not say" in found for found in verify(without_checksums(index)))


def test_weights_that_are_gone_or_another_are_named(world: Path, index: Path) -> None:
    weights = json.loads((index / "run.json").read_bytes())["weights"]
    change_json(index / "run.json", weights={**weights, "model": str(world / "nowhere")})
    with pytest.raises(InputError, match="nowhere"):
        describe_index(index, world / "words.txt")


@pytest.mark.parametrize("content", ["", "# nothing\n\n", None])
def test_a_vocabulary_without_words_is_refused_before_any_work(
    index: Path, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "none.txt").write_text(content)
    with pytest.raises(InputError, match=r"none\.txt"):
        describe_index(index, tmp_path / "none.txt")


TAMPERINGS = {
    "its clarity is": "UPDATE features SET clarity = clarity / 2",
    "not have the score": "UPDATE features SET name_scores = list_transform(name_scores, lambda s: s / 2)",
    "do not each name the first": "UPDATE features SET folds = list_transform(folds, lambda f: f + 1)",
    "it fires with": "UPDATE neighbors SET scores = list_transform(scores, lambda s: s / 2)",
    "features are described": "DELETE FROM features WHERE feature % 2 = 0",
}


@pytest.mark.slow
@pytest.mark.parametrize("problem", TAMPERINGS)
def test_verify_finds_descriptions_that_do_not_follow_from_the_index(index: Path, problem: str) -> None:
    with duckdb.connect(str(index / described(index))) as connection:
        connection.execute(TAMPERINGS[problem])
    assert any(problem in found for found in verify(with_new_checksums(index)))


def test_verify_finds_vectors_of_other_images(index: Path) -> None:
    (index / "vectors" / "1-cls.npy").write_bytes((index / "vectors" / "2-cls.npy").read_bytes())
    problems = verify(with_new_checksums(index))
    assert any("its vector is not that of its top images" in found for found in problems)


def described(index_dir: Path) -> str:
    record = read_manifest(index_dir).describe
    assert record is not None
    return record.database


def test_every_number_that_shapes_the_descriptions_is_in_the_manifest(index: Path) -> None:
    record = read_manifest(index).describe
    assert record is not None
    assert record.settings == json.loads(json.dumps(vars(DescribeSettings())))
    assert record.vocabulary is not None
    assert record.vocabulary.n_words == len(WORDS)
