"""What the names need is looked at before the first image; an index can do without them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.command import Moment, scopeview, scopeview_until
from tests.indexer.tiny import index_words, write_world
from tests.models import WORDS


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path / "world")


def test_a_tokenizer_of_another_model_costs_the_names_and_no_image(world: Path, tmp_path: Path) -> None:
    path = world / "model" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"] |= {f"word{n}": len(WORDS) + n for n in range(50)}
    path.write_text(json.dumps(tokenizer))
    ended = scopeview(*index_words(world, tmp_path / "out"), "--layers", "embed")
    assert ended.code == 0, ended.err
    reason = "the tokenizer has ids up to 60, but the text encoder has 11"
    assert ended.err.index(reason) < ended.err.index('"encode"')
    assert reason in json.loads((tmp_path / "out" / "report.json").read_bytes())["without_names"]
    assert f"features have no names: {reason}" in " ".join(ended.out.split())
    assert scopeview("verify", tmp_path / "out").code == 0


def test_an_overlong_word_is_refused_before_anything_is_written(world: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("dog\n" + "x" * 100_000)
    ended = scopeview(*index_words(world, tmp_path / "out"), "--vocabulary", tmp_path / "words.txt")
    assert (ended.code, "line of 100,000 characters" in ended.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_other_words_redo_nothing_but_the_description(world: Path, tmp_path: Path) -> None:
    for name in ("red", "blue"):
        (tmp_path / f"{name}.txt").write_text(f"{name}\ndog\n")
    words = [*index_words(world, tmp_path / "out"), "--layers", "embed"]
    stopped = Moment("indexer.describe.stages.DescribeStages.write_names", 1)
    begun = scopeview_until(stopped, tmp_path / "log", *words, "--vocabulary", tmp_path / "red.txt")
    assert begun.code == -9
    encoded = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").rglob("*.parquet")}
    ended = scopeview(*words, "--vocabulary", tmp_path / "blue.txt")
    assert ended.code == 0, ended.err
    assert encoded == {path: path.stat().st_mtime_ns for path in encoded}
    assert len(list((tmp_path / "out").glob("described-*"))) == 1
    shutil.rmtree(tmp_path / "out")
    assert scopeview(*words, "--vocabulary", tmp_path / "blue.txt").code == 0
