"""A run's record: where the weights are found again, and one writer at a time."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from indexer.run_config import (
    RunConfig,
    WeightRefs,
    begin,
    check_resumable,
    is_finished,
    locked,
    record_vocabulary,
    recorded_grey_16_bit,
    weight_refs,
)
from scopeview.errors import ConfigMismatchError, InputError
from scopeview.model_spec import Recipe

CONFIG = RunConfig(
    slug="photos",
    source_kind="webdataset",
    shards=[["a.tar", "1"], ["b.tar", "2"]],
    model="a" * 64,
    preprocessing={"crop_size": [224, 224], "grey_16_bit": "scaled"},
    layers=["11"],
    saes={"11": "b" * 64},
    tokens=["cls", "any"],
    normalization={"11": "standardize"},
    calibration_images=512,
    limit=None,
    dtype="float32",
    thumb_px=224,
    vocabulary="d" * 64,
)
REFS = WeightRefs("org/clip@c0ffee", "/suite")


def test_an_empty_or_absent_folder_can_be_begun(tmp_path: Path) -> None:
    with locked(tmp_path / "new"):
        check_resumable(tmp_path / "new", CONFIG)


def test_the_same_run_can_be_resumed(tmp_path: Path) -> None:
    begin(tmp_path, CONFIG, REFS)
    check_resumable(tmp_path, replace(CONFIG))
    assert not is_finished(tmp_path)


def test_where_the_weights_are_may_change(tmp_path: Path) -> None:
    begin(tmp_path, CONFIG, REFS)
    check_resumable(tmp_path, CONFIG)
    begin(tmp_path, CONFIG, WeightRefs("/moved/clip", "/moved/suite"))
    assert json.loads((tmp_path / "run.json").read_bytes())["weights"] == {
        "model": "/moved/clip",
        "sae": "/moved/suite",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limit": 5}, "another limit: then None, now 5"),
        ({"tokens": ["cls"]}, r"another tokens: then \['cls', 'any'\], now \['cls'\]"),
        ({"saes": {"11": "c" * 64}}, "another saes: 11: then 'b+', now 'c+'"),
        ({"saes": {"12": "b" * 64}}, "another saes: 11: then 'b+', now None; 12: then None, now 'b+'"),
        ({"normalization": {"11": "none"}}, "another normalization: 11: then 'standardize', now 'none'"),
        ({"shards": [["a.tar", "1"], ["b.tar", "3"]]}, r"another shards: 1 of 2 differ, first b\.tar"),
        ({"shards": [["a.tar", "1"]]}, r"another shards: 1 of 1 differ, first b\.tar"),
        ({"shards": [["b.tar", "2"], ["a.tar", "1"]]}, "another shards: 0 of 2 differ, first their order"),
        ({"version": 3}, "another version: then 2, now 3"),
    ],
)
def test_another_run_is_refused_with_what_differs(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    begin(tmp_path, CONFIG, REFS)
    with pytest.raises(ConfigMismatchError, match=words):
        check_resumable(tmp_path, replace(CONFIG, **change))


def test_other_words_are_accepted_until_the_index_is_finished(tmp_path: Path) -> None:
    begin(tmp_path, CONFIG, REFS)
    other = replace(CONFIG, vocabulary="e" * 64)
    check_resumable(tmp_path, other)
    (tmp_path / "manifest.json").touch()
    with pytest.raises(ConfigMismatchError, match=r"another vocabulary: .*scopeview describe"):
        check_resumable(tmp_path, other)


def test_a_record_of_another_version_is_refused_by_the_field_it_lacks(tmp_path: Path) -> None:
    begin(tmp_path, CONFIG, REFS)
    record = json.loads((tmp_path / "run.json").read_bytes())
    del record["config"]["thumb_px"], record["sha256"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ConfigMismatchError, match="another thumb_px: then None, now 224"):
        check_resumable(tmp_path, CONFIG)


def test_an_index_that_was_described_again_is_of_the_run_with_those_words(tmp_path: Path) -> None:
    begin(tmp_path, CONFIG, REFS)
    record_vocabulary(tmp_path, "e" * 64)
    check_resumable(tmp_path, replace(CONFIG, vocabulary="e" * 64))
    assert json.loads((tmp_path / "run.json").read_bytes())["weights"]["model"] == REFS.model


def test_a_run_from_before_greyscale_was_scaled_goes_on_as_it_began(tmp_path: Path) -> None:
    assert recorded_grey_16_bit(tmp_path) == "scaled"
    begin(tmp_path, replace(CONFIG, preprocessing={"crop_size": [224, 224]}), REFS)
    assert recorded_grey_16_bit(tmp_path) == "clipped"
    clipped = {**CONFIG.preprocessing, "grey_16_bit": "clipped"}
    check_resumable(tmp_path, replace(CONFIG, preprocessing=clipped))
    with pytest.raises(ConfigMismatchError, match="grey_16_bit: then 'clipped', now 'scaled'"):
        check_resumable(tmp_path, CONFIG)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"config": 7}'])
def test_a_torn_record_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json is not the record of a run"):
        check_resumable(tmp_path, CONFIG)


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds no run to resume \(found thesis\.tex\)"):
        check_resumable(tmp_path, CONFIG)


def test_a_second_writer_is_kept_out_until_the_first_is_done(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(InputError, match="is being written by another run"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def recipe_of(model: object, suite: object) -> Recipe:
    """A recipe of which only the names of its weights are known."""
    recipe = object.__new__(Recipe)
    for name, value in (("model", model), ("suite", suite)):
        object.__setattr__(recipe, name, value)
    return recipe


def test_a_hub_id_is_pinned_to_its_commit_and_a_folder_made_absolute(tmp_path: Path) -> None:
    model = SimpleNamespace(repo_id="org/clip", revision="c0ffee", path=tmp_path)
    ref = str(tmp_path / "a" / ".." / "suite")
    suite = SimpleNamespace(repo_id=None, revision=None, within=None, ref=ref)
    assert weight_refs(recipe_of(model, suite)) == WeightRefs("org/clip@c0ffee", str(tmp_path / "suite"))


def test_a_part_of_a_repository_stays_named(tmp_path: Path) -> None:
    model = SimpleNamespace(repo_id="org/clip", revision="c0ffee", path=tmp_path)
    suite = SimpleNamespace(repo_id="org/saes", revision="a1b2c3", within="layer_13/run", ref="")
    refs = weight_refs(recipe_of(model, suite))
    assert refs == WeightRefs("org/clip@c0ffee", "org/saes@a1b2c3:layer_13/run")
