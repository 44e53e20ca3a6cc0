"""Four kinds of SAEs in one suite through the whole pipeline: indexed, opened again, uploaded to, steered."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scopeview.analysis.feature_edits import Edit, FeatureEdits
from scopeview.images import ImageLimits, decode
from scopeview.importers import native
from scopeview.model_spec import load_encoder
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.slots import Layer, Slot
from scopeview.store.manifest import Manifest
from scopeview.store.reader import IndexReader
from scopeview.vision.encoder import Encoder
from tests.command import scopeview
from tests.indexer.tiny import N_FEATURES, PROJECTION, WIDTH, K, index_words, jpeg, write_model, write_source
from tests.saes import random_tensors, save_random_saelens

LAYERS: list[Layer] = [0, 1, 2, "embed"]


def write_suite(suite: Path) -> None:
    """JumpReLU after a layer norm, AbsTopK of constant norm, saev's first version, MSAE on the embedding."""
    for layer, form in enumerate([("jumprelu", None, "layer_norm"), ("abstopk", K, "constant_norm")]):
        architecture, k, normalization = form
        config = SaeConfig("topk", layer, WIDTH, N_FEATURES, k, "none", source="", sha256="")
        changed = {**vars(config), "architecture": architecture, "normalization": normalization}
        limits = torch.full((N_FEATURES,), 0.5) if k is None else None
        weights = Weights(**random_tensors(WIDTH, N_FEATURES, seed=layer), threshold=limits)
        native.save(Sae(SaeConfig(**changed), weights), suite / str(layer))
    tensors = random_tensors(WIDTH, N_FEATURES, seed=2)
    state = {"W_enc": tensors["enc"], "W_dec": tensors["dec"], "b_dec": tensors["pre_b"]}
    saev = suite / "layer_2" / "sae.pt"
    saev.parent.mkdir()
    with saev.open("wb") as file:
        file.write(json.dumps({"d_vit": WIDTH, "exp_factor": 2}).encode() + b"\n")
        torch.save({**state, "b_enc": torch.zeros(N_FEATURES)}, file)
    tensors = random_tensors(PROJECTION, N_FEATURES, seed=3)
    model = {"pre_bias": tensors["pre_b"], "encoder": tensors["enc"], "decoder": tensors["dec"]}
    content = {"model": {**model, "latent_bias": torch.zeros(N_FEATURES)}, "scaling_factor": 4.0}
    name = f"{N_FEATURES}_{PROJECTION}_TopKReLU_{K}_RW_False_False_30.0_data.pth"
    torch.save({**content, "mean_center": torch.full((PROJECTION,), 0.01), "target_norm": 1.0}, suite / name)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    write_source(folder / "source")
    write_model(folder / "model")
    write_suite(folder / "suite")
    ended = scopeview(*index_words(folder, folder / "index"))
    assert ended.code == 0, ended.err
    assert "lacks both mean and scalar" in ended.err
    assert "its activations can be negative" in ended.err
    return folder / "index"


@pytest.fixture(scope="module")
def encoder(index: Path) -> Encoder:
    return load_encoder(index, device="cpu")


def manifest_of(index: Path) -> Manifest:
    with IndexReader(index) as reader:
        return reader.manifest


def test_the_manifest_says_what_each_is(index: Path) -> None:
    found = {record.layer: record for record in manifest_of(index).layers}
    assert list(found) == LAYERS
    assert [found[layer].architecture for layer in LAYERS] == ["jumprelu", "abstopk", "relu", "topk"]
    normalizations = ["layer_norm", "constant_norm", "center_scale", "center_scale"]
    assert [found[layer].normalization for layer in LAYERS] == normalizations
    assert [found[layer].k for layer in LAYERS] == [None, K, None, K]
    assert [found[layer].max_active for layer in LAYERS] == [N_FEATURES, None, N_FEATURES, None]
    assert all(record.figures is not None for record in found.values())


def test_an_upload_has_the_codes_that_the_index_stores(index: Path, encoder: Encoder) -> None:
    crops = [encoder.crop(decode(jpeg(seed), ImageLimits()).image) for seed in range(4)]
    uploaded = encoder.codes(np.stack(crops))  # a batch as the indexer's own
    with IndexReader(index) as reader:
        for image_id, codes in enumerate(uploaded):
            stored = reader.codes(image_id)
            for code in codes:
                kept = stored[Slot(code.layer, code.token)]
                assert code.n_active == kept.n_active
                assert [pair.feature for pair in code.features] == [pair.feature for pair in kept.features]
                mine, theirs = ([pair.activation for pair in one.features] for one in (code, kept))
                np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_negative_activations_are_stored_at_single_tokens_alone(index: Path) -> None:
    with IndexReader(index) as reader:
        at_cls, at_any = ([reader.codes(i)[Slot(1, token)] for i in range(4)] for token in ("cls", "any"))
    values = [pair.activation for code in at_cls for pair in code.features]
    assert len(values) == 4 * K
    assert min(values) < 0 < max(values)
    assert all(pair.activation > 0 for code in at_any for pair in code.features)


@pytest.mark.parametrize("layer", LAYERS)
def test_steering_changes_the_embedding_and_nothing_else_does(encoder: Encoder, layer: Layer) -> None:
    crop = encoder.crop(decode(jpeg(1), ImageLimits()).image)
    [decomposed] = encoder.decompose(crop[None], [layer])
    found = decomposed.layers[layer]
    same = encoder.steer(crop, found, FeatureEdits(layer, ()))
    np.testing.assert_array_equal(same.before, same.after)
    at = np.unravel_index(np.abs(found.values).argmax(), found.values.shape)
    off = Edit((int(found.features[at]),), "set", 0.0)
    steered = encoder.steer(crop, found, FeatureEdits(layer, (off,)))
    assert np.abs(steered.after - steered.before).max() > 1e-4


def test_calibrate_measures_each_as_it_was_trained(index: Path) -> None:
    words = ["calibrate", index.parent / "source", "--model", index.parent / "model"]
    ended = scopeview(*words, "--sae", index.parent / "suite", "--images", "4", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    own = {str(line["layer"]): line["figures"]["normalization"] for line in reversed(found)}
    assert own == {"0": "layer_norm", "1": "constant_norm", "2": "center_scale", "embed": "center_scale"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architecture": "temporal"}, "architecture is 'temporal'; supported: 'standard', 'topk'"),
        ({"architecture": "skip_transcoder"}, "architecture is 'skip_transcoder'; supported"),
        ({"metadata": {"hook_name": "blocks.1.hook_mlp_out"}}, "hook_name is 'blocks.1.hook_mlp_out'; supp"),
        ({"d_in": WIDTH + 1}, f"tensor W_enc has shape [{WIDTH}, {N_FEATURES}]; expected [{WIDTH + 1}"),
    ],
)
def test_what_is_refused_ends_the_command_with_code_2_and_leaves_nothing(
    index: Path, tmp_path: Path, config: dict[str, object], expected: str
) -> None:
    suite = tmp_path / "suite"
    folder = save_random_saelens(suite, layer=1, d_in=WIDTH, n_features=N_FEATURES, config=config)
    words = ["index", index.parent / "source", "--model", index.parent / "model"]
    ended = scopeview(*words, "--sae", suite, "--out", tmp_path / "out")
    assert ended.code == 2
    assert str(folder) in ended.err
    assert expected in ended.err
    assert not (tmp_path / "out").exists()
