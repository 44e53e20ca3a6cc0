"""Which SAE of an index the published figures belong to."""

import pytest

from scopeview.sae.reference_metrics import published_metrics
from scopeview.store.manifest import LayerRecord

SUITE = LayerRecord(
    layer=22,
    sae="lewington/CLIP-ViT-L-scope",
    sae_revision=None,
    sae_file="22_resid/1200013184.pt",
    sae_sha256="c" * 64,
    architecture="topk",
    d_in=1024,
    n_features=65_536,
    k=32,
    normalization="standardize",
)


def test_a_layer_of_the_suite_has_its_published_figures() -> None:
    found = published_metrics(SUITE)
    assert found is not None
    assert (found.mse, found.explained_variance) == (299.96, 0.684)


@pytest.mark.parametrize(
    "other",
    [
        {"layer": 20},
        {"layer": "embed"},
        {"layer": 3, "sae_file": "3_resid/1200013184.pt"},
        {"sae_file": "22/sae.safetensors"},
        {"d_in": 768},
        {"n_features": 1024},
        {"architecture": "relu", "k": None},
    ],
)
def test_any_other_sae_has_none(other: dict[str, object]) -> None:
    assert published_metrics(SUITE.model_copy(update=other)) is None
