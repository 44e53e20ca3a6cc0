"""`eval features` from outside, on an index of a model that knows nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from indexer.evaluation.concepts import concepts, shown
from indexer.evaluation.controls import Controls
from indexer.evaluation.features import FeatureMetrics, evaluate_features
from indexer.evaluation.scenes import concatenate_truths, scene_truth
from indexer.world import make_scene
from scopeview.store.reader import IndexReader
from tests.command import scopeview
from tests.indexer.evaluation.conftest import N_SCENES, SEED


@pytest.fixture(scope="module")
def figures(index: Path) -> FeatureMetrics:
    return evaluate_features(index, seed=SEED, device="cpu")


def test_every_slot_is_scored_beside_its_controls(figures: FeatureMetrics) -> None:
    subjects = ["SAE", "random SAE", "neurons", "chance"]
    slots = [(1, "cls"), (1, "any"), ("embed", "cls")]
    assert [(line.layer, line.token, line.subject) for line in figures.scores] == [
        (*slot, subject) for slot in slots for subject in subjects
    ]
    n_scored = {(line.token, line.subject): line.shares.n_scored for line in figures.scores[:8]}
    assert all(n > 0 for n in n_scored.values())
    assert n_scored["cls", "chance"] == n_scored["cls", "SAE"] <= 48
    assert n_scored["any", "neurons"] <= 32


def test_shares_are_those_of_the_top_images_that_the_index_shows(
    index: Path, figures: FeatureMetrics
) -> None:
    truth = shown(
        concatenate_truths([scene_truth(make_scene(SEED, number), 4) for number in range(N_SCENES)])
    )
    usual = truth.mean(axis=0) < 1
    all_nine, n_scored, covered = 0, 0, set()
    with IndexReader(index) as reader:
        for card in reader.gallery(reader.slot(1, "any"), limit=100).cards:
            nine = truth[card.top_image_ids]
            all_nine += bool(nine[:, usual].all(axis=0).any())
            n_scored += 1
            covered |= {concepts()[number].name for number in np.flatnonzero(nine.all(axis=0))}
    line = next(line for line in figures.scores if (line.token, line.subject) == ("any", "SAE"))
    assert line.shares.n_scored == n_scored
    assert line.shares.nine == pytest.approx(all_nine / n_scored)
    kinds = next(line for line in figures.coverage if (line.layer, line.group) == (1, "kind"))
    assert kinds.n_concepts == 26
    assert not covered & set(kinds.missing)


def test_the_table_the_json_and_the_figure_say_the_same(
    index: Path, tmp_path: Path, figures: FeatureMetrics
) -> None:
    words = ("--json", tmp_path / "figures.json", "--figure", tmp_path / "figure.svg", "--device", "cpu")
    ended = scopeview("eval", "features", index, "--seed", SEED, *words)
    assert ended.code == 0, ended.err
    text = (tmp_path / "figures.json").read_text()
    found = json.loads(text)
    assert "NaN" not in text
    assert (found["seed"], found["n_scenes"], len(found["scores"])) == (SEED, N_SCENES, 12)
    for line in found["scores"]:
        nine = "-" if line["shares"]["nine"] is None else f"{line['shares']['nine']:.1%}"
        assert any(
            row.split()[:2] == [str(line["layer"]), line["token"]] and line["subject"] in row and nine in row
            for row in ended.out.splitlines()
        )
    assert found["scores"][0]["shares"]["n_scored"] == figures.scores[0].shares.n_scored
    drawn = (tmp_path / "figure.svg").read_text()
    assert all(words in drawn for words in ("40 scenes of world 4", "random SAE", "kind and colour", "layer"))


def test_the_same_figures_draw_the_same_image(figures: FeatureMetrics, tmp_path: Path) -> None:
    from indexer.evaluation.figure import draw_figure

    for name in ("one.svg", "two.svg", "image.png"):
        draw_figure(figures, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")


def test_without_controls_no_model_is_needed(index: Path, tmp_path: Path, figures: FeatureMetrics) -> None:
    copy = shutil.copytree(index, tmp_path / "index")
    (copy / "run.json").unlink()  # knows where the weights are
    found = evaluate_features(copy, seed=SEED, with_controls=False)
    assert [line.subject for line in found.scores] == ["SAE", "chance"] * 3
    assert (found.coverage, found.located) == (figures.coverage, figures.located)
    ended = scopeview("eval", "features", copy, "--seed", SEED)
    assert ended.code == 2
    assert "run.json" in ended.err


def test_controls_are_measured_once_and_read_from_the_cache_after_that(
    index: Path, figures: FeatureMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> None:
        raise AssertionError("the model ran again")

    monkeypatch.setattr(Controls, "take", measured)
    assert evaluate_features(index, seed=SEED, device="cpu") == figures


def test_another_world_is_refused(index: Path) -> None:
    ended = scopeview("eval", "features", index, "--seed", SEED + 1, "--no-controls")
    assert ended.code == 2
    assert f"is not scene 0 of world {SEED + 1}" in ended.err


@pytest.mark.parametrize(
    ("words", "said"), [(("--figure", "figure.bmp"), "ends in none of .svg"), (("--device", "warp"), "warp")]
)
def test_wrong_options_are_refused(index: Path, words: tuple[str, str], said: str) -> None:
    ended = scopeview("eval", "features", index, "--seed", SEED, *words)
    assert ended.code == 2
    assert said in ended.err
