"""One SAE as it learns."""

import torch

from indexer.training.sae_config import SaeSettings
from indexer.training.sae_state import Learner, StepMetrics
from tests.indexer.training.saes_in_training import relu_settings, settings, sparse_mixtures

CPU = torch.device("cpu")


def _learner(of: SaeSettings) -> Learner:
    return Learner(of, seed=0, device=CPU, low_precision=False)


def _learn(learner: Learner, n_steps: int, *, first: int = 0, n_parts: int = 20) -> list[StepMetrics]:
    found = [
        learner.step(sparse_mixtures(256, seed=step, n_parts=n_parts), lr=0.01, measured=True)
        for step in range(first, first + n_steps)
    ]
    return [figures for figures in found if figures is not None]


def test_loss_falls_and_explained_variance_rises() -> None:
    figures = _learn(_learner(settings()), 200)
    assert figures[-1].loss < figures[0].loss / 3
    assert figures[-1].explained_variance > 0.9 > figures[0].explained_variance
    assert figures[-1].l0 <= 3


def test_a_fresh_encoder_equals_its_decoder_in_unit_rows() -> None:
    sae = _learner(settings()).sae
    assert torch.equal(sae.enc, sae.dec)
    torch.testing.assert_close(sae.dec.norm(dim=1), torch.ones(24))


def test_features_begin_at_the_directions_of_tokens_and_the_rest_at_random() -> None:
    sae, untouched = _learner(settings()).sae, _learner(settings()).sae
    tokens = torch.cat([torch.zeros(1, 12), sparse_mixtures(10)])
    sae.init_from_tokens(tokens)
    torch.testing.assert_close(sae.dec[:10], torch.nn.functional.normalize(tokens[1:], dim=1))
    assert torch.equal(sae.dec[10:], untouched.dec[10:])
    assert torch.equal(sae.enc, sae.dec)


def _dead_on_clusters(*, begin_at_tokens: bool) -> int:
    """Of 48 features, each the only one a token may use, where tokens lie in 3 of 12 dimensions."""
    learner = _learner(settings(n_features=48, k=1, aux_k=0, dead_after=2048))
    centres = torch.randn(60, 12, generator=torch.Generator().manual_seed(5))
    centres[:, 3:] = 0
    random = torch.Generator().manual_seed(6)
    for step in range(60):
        chosen = torch.randint(60, (256,), generator=random)
        x = centres[chosen] + 0.05 * torch.randn(256, 12, generator=random)
        if step == 0 and begin_at_tokens:
            learner.sae.init_from_tokens(x)
        learner.step(x, lr=0.003)
    return len(learner.dead)


def test_of_features_that_begin_at_tokens_fewer_die() -> None:
    assert _dead_on_clusters(begin_at_tokens=True) < _dead_on_clusters(begin_at_tokens=False) / 2


def test_decoder_rows_keep_unit_length() -> None:
    learner = _learner(settings())
    _learn(learner, 5)
    torch.testing.assert_close(learner.sae.dec.norm(dim=1), torch.ones(24))


def _with_six_killed(aux_k: int) -> set[int]:
    """Which of features 0 to 5 are still dead after 150 steps. They began by pointing nowhere, so that others
    always came before them; all 24 are needed for 40 parts."""
    learner = _learner(settings(dead_after=1024, aux_k=aux_k))
    with torch.no_grad():
        learner.sae.enc[:6] = 0
    _learn(learner, 4, n_parts=40)
    assert set(range(6)) <= set(learner.dead.tolist())
    _learn(learner, 150, first=4, n_parts=40)
    return set(range(6)) & set(learner.dead.tolist())


def test_the_auxiliary_loss_revives_features_made_dead_on_purpose() -> None:
    assert len(_with_six_killed(aux_k=6)) <= 1


def test_without_it_they_stay_dead() -> None:
    assert _with_six_killed(aux_k=0) == set(range(6))


def test_a_feature_is_dead_after_that_many_tokens_without_firing_and_not_before() -> None:
    learner = _learner(settings(dead_after=600, aux_k=0))
    _learn(learner, 1)
    with torch.no_grad():
        learner.sae.enc[7] = 0
    _learn(learner, 2, first=1)
    assert 7 not in learner.dead.tolist()
    _learn(learner, 1, first=3)
    assert 7 in learner.dead.tolist()


def test_a_stronger_penalty_leaves_fewer_features_active() -> None:
    l0 = [_learn(_learner(relu_settings(l1)), 60)[-1].l0 for l1 in (0.01, 0.1, 0.5)]
    assert l0[0] > l0[1] > l0[2] > 0


def test_a_restored_learner_goes_on_bit_for_bit() -> None:
    whole, first = _learner(settings(dead_after=300)), _learner(settings(dead_after=300))
    figures = _learn(whole, 12)
    _learn(first, 7)
    restored = _learner(settings(dead_after=300))
    restored.load(first.state())
    assert _learn(restored, 5, first=7) == figures[7:]
    for ours, theirs in zip(restored.sae.parameters(), whole.sae.parameters(), strict=True):
        assert torch.equal(ours, theirs)
