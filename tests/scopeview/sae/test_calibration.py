"""Streaming statistics, the seeded sample, figures under both normalisations, and the file of statistics."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scopeview.errors import IndexFormatError, InputError
from scopeview.sae import reference_metrics
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.calibration import (
    Calibration,
    StreamingMoments,
    calibrate,
    compare,
    load_standardizations,
    measure,
    save_standardizations,
)
from scopeview.sae.normalization import Standardization
from scopeview.sae.reference_metrics import PUBLISHED
from scopeview.slots import Layer
from scopeview.vision.clip import ResidualActivations

N_TOKENS = 5
LAYERS: list[Layer] = [3, "embed"]


class FakeClip:
    """Layer 3 has 2 dimensions: a token's number, and its image's first pixel, of which 255 gives NaN."""

    def forward(self, pixels: Tensor, layers: Sequence[int]) -> ResidualActivations:
        first = pixels[:, 0, 0, 0].float()
        first = torch.where(first == 255, torch.nan, first)
        number = torch.arange(N_TOKENS).expand(len(pixels), N_TOKENS).float()
        residual = torch.stack([number, first[:, None].expand(-1, N_TOKENS)], dim=2)
        return ResidualActivations(
            dict.fromkeys(layers, residual), torch.stack([first, -first, first], dim=1)
        )


def images(values: Sequence[int], batch_size: int = 100) -> Iterator[Tensor]:
    for start in range(0, len(values), batch_size):
        part = torch.tensor(values[start : start + batch_size], dtype=torch.uint8)
        yield part[:, None, None, None].expand(-1, 3, 2, 2)


def run(values: Sequence[int], batch_size: int = 100, **options: int) -> Calibration:
    return calibrate(images(values, batch_size), FakeClip(), LAYERS, **options)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_streamed_moments_equal_those_of_all_tokens_at_once(seed: int, sizes: list[int]) -> None:
    random = np.random.default_rng(seed)
    # A mean far from zero is where the naive sum of squares loses all its digits.
    parts = [(random.normal(0, 0.01, (size, 3)) + 1000).astype(np.float32) for size in [*sizes, 2]]
    streamed, merged = StreamingMoments(3), StreamingMoments(3)
    for part in parts:
        streamed.update(torch.from_numpy(part))
        one = StreamingMoments(3)
        one.update(torch.from_numpy(part))
        merged.merge(one)
    everything = np.concatenate(parts).astype(np.float64)
    for moments in (streamed, merged):
        stats = moments.result()
        assert stats.n_tokens == len(everything)
        np.testing.assert_allclose(stats.mean, everything.mean(0), rtol=1e-7)
        np.testing.assert_allclose(stats.std, everything.std(0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("n_tokens", [0, 1])
def test_too_few_tokens_have_no_standard_deviation(n_tokens: int) -> None:
    moments = StreamingMoments(2)
    moments.update(torch.ones(n_tokens, 2))
    with pytest.raises(InputError, match=f"saw {n_tokens} tokens"):
        moments.result()


def test_statistics_cover_every_token_of_every_image() -> None:
    calibration = run([10, 20, 60])
    residual = calibration.statistics[3]
    assert residual.n_tokens == 3 * N_TOKENS
    assert residual.mean.tolist() == [2.0, 30.0]
    numbers, pixels = [0, 1, 2, 3, 4] * 3, [10] * 5 + [20] * 5 + [60] * 5
    expected = [np.std(numbers, ddof=1), np.std(pixels, ddof=1)]
    np.testing.assert_allclose(residual.std, expected, rtol=1e-6)


def test_the_embedding_is_an_images_only_token() -> None:
    calibration = run([10, 20, 60])
    assert calibration.statistics["embed"].n_tokens == 3
    assert calibration.sample["embed"].tolist() == [[10, -10, 10], [20, -20, 20], [60, -60, 60]]


def test_the_sample_does_not_depend_on_the_batch_size() -> None:
    whole, single = (run(list(range(20)), batch_size, tokens_per_image=3) for batch_size in (100, 1))
    assert whole.sample[3].shape == (60, 2)
    assert torch.equal(whole.sample[3], single.sample[3])
    assert not torch.equal(whole.sample[3], run(list(range(20)), tokens_per_image=3, seed=1).sample[3])


def test_no_token_is_sampled_twice_and_the_sample_is_bounded() -> None:
    sample = run([1, 2, 3, 4], 3, tokens_per_image=4, max_sampled_images=2).sample[3]
    assert sample.shape == (8, 2)
    assert len({tuple(row) for row in sample.tolist()}) == 8
    assert set(sample[:, 1].tolist()) == {1.0, 2.0}


def test_images_that_give_no_finite_activations_are_counted_and_left_out() -> None:
    calibration = run([10, 255, 20, 60])
    assert (calibration.n_images, calibration.n_skipped) == (3, 1)
    assert calibration.statistics[3].mean.tolist() == [2.0, 30.0]
    assert torch.equal(calibration.sample[3], run([10, 20, 60]).sample[3])


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="saw 0 tokens"):
        run([])


def identity_sae(layer: Layer = 3) -> Sae:
    """Four features: each of 2 dimensions, and its negative. k = 1, so the smaller dimension is lost."""
    enc = torch.tensor([[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
    config = SaeConfig("topk", layer, 2, 4, 1, "standardize", "3_resid/1.pt", "")
    return Sae(config, Weights(torch.zeros(2), enc, enc.T.contiguous()))


def test_figures_are_those_of_the_reconstruction() -> None:
    sae = identity_sae().without_standardization()
    figures = measure(sae, torch.tensor([[3.0, 1.0], [0.0, 2.0]]))
    # Rebuilt as (3, 0) and (0, 2).
    assert (figures.normalization, figures.n_tokens, figures.l0, figures.dead) == ("none", 2, 1.0, 0.5)
    assert figures.mse == 0.5
    assert figures.explained_variance == ((1 - 1 / 2) + 1) / 2


def test_both_normalisations_are_compared_on_the_same_tokens() -> None:
    calibration = run([10, 20, 60])
    standardized, raw = compare(identity_sae(), calibration)
    assert [row.figures.normalization for row in (standardized, raw)] == ["standardize", "none"]
    assert standardized.figures.n_tokens == raw.figures.n_tokens == 15
    assert raw.figures.mse > standardized.figures.mse
    assert raw.published is None


def test_published_figures_stand_beside_the_published_saes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = run([10, 20, 60])
    at_22 = replace(
        calibration, statistics={22: calibration.statistics[3]}, sample={22: calibration.sample[3]}
    )
    sae = identity_sae(layer=22)
    assert [row.published for row in compare(sae, at_22)] == [None, None]
    config = replace(sae.config, source="22_resid/1200013184.pt")
    shape = (config.architecture, config.d_in, config.n_features)
    monkeypatch.setattr(reference_metrics, "_SHAPE", shape)
    sae.config = config
    row, _ = compare(sae, at_22)
    assert row.published is not None
    assert (row.published.mse, row.published.explained_variance) == (299.96, 0.684)


def test_the_published_figures_are_those_of_unit_variance_in_1024_dimensions() -> None:
    ratios = [round(f.mse / (1 - f.explained_variance)) for f in PUBLISHED.values()]
    assert ratios == [1131, 1058, 999, 985, 1028, 971, 946, 949]


def test_statistics_are_kept_exactly(tmp_path: Path) -> None:
    statistics = run([10, 20, 60]).statistics
    path = tmp_path / "normalization.safetensors"
    save_standardizations(path, statistics, n_images=3)
    loaded = load_standardizations(path)
    assert set(loaded) == {3, "embed"}
    for layer, stats in statistics.items():
        assert (loaded[layer].n_tokens, loaded[layer].eps) == (stats.n_tokens, stats.eps)
        assert torch.equal(loaded[layer].mean, stats.mean)
        assert torch.equal(loaded[layer].std, stats.std)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_index_without_standardised_layers_keeps_an_empty_file(tmp_path: Path) -> None:
    save_standardizations(tmp_path / "normalization.safetensors", {}, n_images=3)
    assert load_standardizations(tmp_path / "normalization.safetensors") == {}


def test_a_damaged_statistics_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "normalization.safetensors"
    stats = Standardization(torch.zeros(2), torch.ones(2), n_tokens=9)
    save_standardizations(path, {3: stats}, n_images=3)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IndexFormatError, match=r"normalization\.safetensors.*calibrate again"):
        load_standardizations(path)
