"""A scene without its heaviest group: what is removed, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest

from indexer.evaluation.ablation import (
    Ablation,
    AblationSite,
    ablate_scene,
    ablation_shares,
    ablation_sites,
    random_features,
)
from indexer.evaluation.heatmaps import QUESTIONS, scene_prompts
from indexer.evaluation.stored_index import scene_pixels
from indexer.world import make_scene
from scopeview.analysis.decomposition import Peaks
from scopeview.analysis.feature_edits import Edit, FeatureEdits
from scopeview.analysis.grouping import group_features
from scopeview.model_spec import load_encoder
from tests.scopeview.layer_decompositions import layer_decomposition

X, Y = np.eye(2, dtype=np.float32)


def test_shares_by_hand() -> None:
    found = [Ablation(X, Y, X, 0.5, 0.4), Ablation(X, X + Y, Y, 0.3, 0.2), Ablation(X, X, X, 0.1, 0.0)]
    shares = ablation_shares(found, [0, 0, 1], np.stack([X, Y]), logit_scale=0.0)
    assert (shares.n_scenes, shares.lowers, shares.before) == (3, 0, 0.5)
    sharp = ablation_shares(found, [0, 0, 1], np.stack([X, Y]), logit_scale=100.0)
    assert sharp.right == pytest.approx(2 / 3)
    assert (sharp.lowers, sharp.lowers_random) == pytest.approx((2 / 3, 1 / 3))
    assert (sharp.halves, sharp.halves_random) == pytest.approx((1 / 3, 1 / 3))
    assert (sharp.share, sharp.random_share) == pytest.approx((0.3, 0.2))
    assert sharp.after == pytest.approx((0 + 0.5 + 0) / 3, abs=1e-6)


def test_as_much_mass_at_random_of_what_is_not_in_the_group() -> None:
    values = [[10.0, 4.0, 3.0, 2.0, 1.0, 1.0]]
    peaks = Peaks(layer_decomposition([[1, 2, 3, 4, 5, 6]], values))
    for seed in range(20):
        chosen = random_features(peaks, np.array([1]), 6.0, np.random.default_rng(seed))
        mass = sum(values[0][feature - 1] for feature in chosen)
        assert 1 not in chosen
        assert 4 <= mass <= 6.3
    everything = random_features(peaks, np.array([1]), 100.0, np.random.default_rng(0))
    assert sorted(everything) == [2, 3, 4, 5, 6]


def test_the_heaviest_group_is_what_steering_would_set_to_0(index: Path) -> None:
    encoder = load_encoder(index, device="cpu")
    crop = scene_pixels([make_scene(1, 0, n_things=1)], encoder.clip).numpy()[0]
    found = dict(ablate_scene(encoder, crop, np.random.default_rng(0)))
    assert (
        list(found)
        == ablation_sites([1, "embed"])
        == [AblationSite(1, "any"), AblationSite(1, "cls"), AblationSite("embed", "cls")]
    )
    (decomposition,) = encoder.decompose(crop[None])
    for (layer, token), removal in found.items():
        tokens = None if token == "any" else (0,)
        peaks = Peaks(decomposition.layers[layer], tokens)
        group = group_features(
            peaks.features, peaks.masses, encoder.directions(layer, peaks.features.tolist())
        )[0]
        edits = FeatureEdits(layer, (Edit(tuple(group.features.tolist()), "set", 0.0),), tokens)
        turned = encoder.steer(crop, decomposition.layers[layer], edits)
        np.testing.assert_allclose(removal.whole, turned.before, atol=1e-5)
        np.testing.assert_allclose(removal.without_group, turned.after, atol=1e-5)
        assert removal.share == group.share
        assert removal.random_share <= 1.05 * group.share


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_right_prompt_says_what_the_scene_shows(question: str) -> None:
    scenes = [make_scene(1, number, n_things=1) for number in range(12)]
    prompts = scene_prompts(question, scenes)  # type: ignore[arg-type]
    assert len(set(prompts.texts)) == len(prompts.texts)
    for scene, right in zip(scenes, prompts.right, strict=True):
        thing, text = scene.things[0], prompts.texts[right]
        assert (thing.kind in text) == (question != "colour")
        assert (thing.colour in text) == (question != "kind")
        assert (text == scene.caption) == (question == "caption")
