"""What an edit changes in a code, and what probabilities become of embeddings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.analysis.feature_edits import (
    Edit,
    FeatureEdits,
    code_change,
    cosine,
    format_edit,
    parse_edit,
    zero_shot,
)
from scopeview.analysis.heatmap import feature_heatmaps
from scopeview.errors import InputError
from tests.scopeview.layer_decompositions import layer_decomposition, random_layer

BY_HAND = layer_decomposition([[4, 7], [7, 1], [2, 4]], [[5, 2], [3, -1], [3, 3]])


def change(*edits: Edit, tokens: tuple[int, ...] | None = None) -> dict[int, list[float]]:
    found = code_change(BY_HAND, FeatureEdits(3, edits, tokens))
    columns = found.difference.T.tolist()
    return dict(zip(found.features.tolist(), columns, strict=True))


def test_a_feature_set_to_zero_loses_what_it_has_wherever_it_fires() -> None:
    assert change(Edit((4,), "set", 0.0)) == {4: [-5, 0, -3]}


def test_a_feature_set_to_a_value_has_it_at_every_token() -> None:
    assert change(Edit((4,), "set", 4.0)) == {4: [-1, 4, 1]}


def test_a_feature_is_scaled_where_it_is_kept_alone() -> None:
    assert change(Edit((1,), "scale", 2.0)) == {1: [0, -1, 0]}
    assert change(Edit((7,), "scale", 0.5)) == {7: [-1, -1.5, 0]}


def test_only_the_chosen_tokens_change() -> None:
    assert change(Edit((4, 7), "set", 0.0), tokens=(0,)) == {4: [-5, 0, 0], 7: [-2, 0, 0]}
    assert change(Edit((4,), "set", 1.0), tokens=(2, 99)) == {4: [0, 0, -2]}
    assert change(Edit((4,), "set", 1.0), tokens=()) == {4: [0, 0, 0]}


def test_edits_follow_one_another() -> None:
    twice = (Edit((7, 4), "scale", 2.0), Edit((4,), "set", 1.0))
    assert change(*twice) == {4: [-4, 1, -2], 7: [2, 3, 0]}


def test_no_edits_change_nothing() -> None:
    assert change() == {}


@given(st.integers(0, 10**6), st.sampled_from(["scale", "set"]))
def test_features_set_to_their_own_values_stay(seed: int, turn: str) -> None:
    layer = random_layer(seed)
    for token in range(layer.n_tokens):
        own = feature_heatmaps(layer, range(8))[:, token].tolist()
        edits = [
            Edit((feature,), "set", value) if turn == "set" else Edit((feature,), "scale", 1.0)
            for feature, value in enumerate(own)
        ]
        assert not code_change(layer, FeatureEdits(3, tuple(edits), (token,))).difference.any()


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("12:0", Edit((12,), "set", 0.0)),
        ("12,55:x0.5", Edit((12, 55), "scale", 0.5)),
        ("3:-4.25", Edit((3,), "set", -4.25)),
    ],
)
def test_an_edit_is_read_and_written_alike(text: str, edit: Edit) -> None:
    assert parse_edit(text) == edit
    assert format_edit(edit) == text
    assert parse_edit(f"{text}0" if "." in text else text) == edit


@pytest.mark.parametrize(
    "text", ["", "12", "12:", ":0", "12:x", "1,:0", "1:nan", "1:1e3", "1:x-", "a:0", "1:0:0"]
)
def test_a_malformed_edit_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="set feature 12 to 0"):
        parse_edit(text)


def test_zero_shot_probabilities_are_the_softmax_of_scaled_cosines() -> None:
    prompts = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    found = zero_shot(np.array([3, 4], np.float32), prompts, 10.0)
    logits = 10 * np.array([0.6, 0.8, 0.36 + 0.64])
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(), rtol=1e-6)
    assert found.sum() == pytest.approx(1)
    assert zero_shot(np.array([1, 0], np.float32), prompts, 10_000.0).tolist() == [1, 0, 0]


def test_the_cosine_of_embeddings_knows_no_length() -> None:
    one = np.array([3, 4], np.float32)
    assert cosine(one, 7 * one) == pytest.approx(1)
    assert cosine(one, np.array([-8, 6], np.float32)) == 0
