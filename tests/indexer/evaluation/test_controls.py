from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.evaluation import controls
from indexer.evaluation.controls import Controls, ControlTops, TopScenes, load_tops, random_sae, save_tops
from indexer.evaluation.score import Top
from indexer.evaluation.stored_index import read_top, read_truths
from scopeview.model_spec import load_encoder
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.forms import Architecture
from scopeview.sae.normalization import Standardization
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from tests.indexer.evaluation.conftest import SEED
from tests.saes import random_tensors


def make_sae(k: int | None, d_in: int = 6, n_features: int = 20) -> Sae:
    architecture: Architecture = "relu" if k is None else "topk"
    config = SaeConfig(architecture, 1, d_in, n_features, k, "standardize", "file", "sha")
    stats = Standardization(torch.arange(d_in).float(), torch.full((d_in,), 2.0), 100)
    return Sae(config, Weights(**random_tensors(d_in, n_features, seed=0)), stats)


@pytest.mark.parametrize("cuts", [(30,), (1, 4, 25), (9, 9, 12)])
def test_the_top_of_a_stream_is_that_of_a_full_sort_and_of_equals_the_earlier(cuts: tuple[int, ...]) -> None:
    values = torch.randint(-2, 4, (30, 8), generator=torch.Generator().manual_seed(0)).float()
    values[:, 3] = -1
    values[8:, 5] = -1  # fires on eight scenes at most
    top = TopScenes()
    for part in torch.split(values, list(cuts)):
        top.take(part)
    found = top.result()
    fires = ((values > 0).sum(dim=0) >= 9).numpy()
    assert found.features.tolist() == np.flatnonzero(fires).tolist()
    ranks = [np.lexsort((np.arange(30), -column))[:9] for column in values.numpy().T[fires]]
    assert found.scenes.tolist() == [rank.tolist() for rank in ranks]


def test_where_no_column_fires_often_enough_there_is_no_top() -> None:
    top = TopScenes()
    top.take(torch.zeros(12, 3))
    assert top.result().scenes.shape == (0, 9)
    assert top.result().features.shape == (0,)


def test_a_random_sae_differs_in_its_directions_alone() -> None:
    sae = make_sae(k=4)
    other = random_sae(sae, 4.0, seed=1)
    assert other.config == sae.config
    assert other.standardization == sae.standardization
    assert torch.equal(other.pre_b, sae.pre_b)
    assert torch.equal(other.enc, other.dec.T)
    assert torch.allclose(other.dec.norm(dim=1), torch.ones(20))
    assert torch.equal(other.dec, random_sae(sae, 4.0, seed=1).dec)
    assert not torch.equal(other.dec, random_sae(sae, 4.0, seed=2).dec)


def test_for_a_relu_sae_it_keeps_as_many_features_as_that_has_on_average() -> None:
    assert random_sae(make_sae(k=None), 6.6, seed=1).config.k == 7
    assert random_sae(make_sae(k=None), 0.1, seed=1).config.k == 1


def test_neurons_are_the_standardised_input_at_cls_and_their_highest_over_tokens() -> None:
    sae = make_sae(k=4)
    tokens = torch.randn(3, 5, 6)
    standard = (tokens - sae.standardization.mean) / (2.0 + 1e-6)  # type: ignore[union-attr]
    found = controls._inputs(sae, tokens)
    assert torch.allclose(found.cls, standard[:, 0])
    assert torch.allclose(found.any, standard.max(dim=1).values)


def test_cached_tops_are_read_as_they_were_and_damaged_ones_are_measured_again(tmp_path: Path) -> None:
    tops: ControlTops = {
        ("random SAE", Slot(1, "any")): Top(np.array([3]), np.arange(9)[None]),
        ("neurons", Slot("embed", "cls")): Top(np.empty(0, np.int64), np.empty((0, 9), np.int64)),
    }
    path = tmp_path / "controls" / "tops.npz"
    assert load_tops(path) is None
    save_tops(path, tops)
    found = load_tops(path)
    assert found is not None
    assert list(found) == list(tops)
    for key, top in tops.items():
        assert found[key].features.tolist() == top.features.tolist()
        assert found[key].scenes.tolist() == top.scenes.tolist()
        assert found[key].scenes.shape == top.scenes.shape
    for damaged in (path.read_bytes()[:-40], b"no archive", b""):
        path.write_bytes(damaged)
        assert load_tops(path) is None


def test_the_trained_sae_put_through_the_controls_has_the_top_scenes_of_the_index(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels, taps, ranks and ties are those of indexing: only the directions of a control are not."""
    monkeypatch.setattr(controls, "random_sae", lambda sae, _l0, _seed: sae)
    encoder = load_encoder(index, device="cpu")
    through = Controls(encoder.clip, encoder.saes, dict.fromkeys(encoder.saes, 6.0), seed=0)
    with IndexReader(index) as reader:
        read_truths(reader, SEED, through)
        for slot in reader.manifest.slots:
            stored, found = read_top(reader, slot).top, through.result()["random SAE", slot]
            assert len(stored.features) > 0
            assert found.features.tolist() == stored.features.tolist()
            same = (found.scenes == stored.scenes).mean()
            assert same > 0.95, slot  # a batch of another size rounds differently
    assert ("neurons", Slot("embed", "any")) not in through.result()
