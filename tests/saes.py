"""Small random SAE checkpoints on disk, in every format the importers read.

The same arguments give the same weights. They know nothing: for tests of plumbing, shapes and exactness.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from scopeview.importers import native
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.forms import Architecture
from scopeview.sae.normalization import Standardization
from scopeview.slots import Layer

SEEN_TOKENS = 1_200_013_184


def random_tensors(d_in: int, n_features: int, seed: int) -> dict[str, Tensor]:
    """pre_b, enc and dec; decoder rows are not of unit length."""
    random = torch.Generator().manual_seed(seed)
    enc = torch.randn(d_in, n_features, generator=random) / d_in**0.5
    dec = torch.randn(n_features, d_in, generator=random) / d_in**0.5
    return {"pre_b": 0.1 * torch.randn(d_in, generator=random), "enc": enc, "dec": dec}


def save_random_clipscope(
    path: Path,
    *,
    layer: int,
    d_in: int,
    n_features: int,
    k: int,
    seed: int = 0,
    with_sizes: bool = True,
    with_optimizer: bool = False,
) -> Path:
    """Writes `{path}/{layer}_resid/{tokens}.pt` and returns it. Without sizes it does not say its k."""
    weights = random_tensors(d_in, n_features, seed)
    checkpoint: dict[str, object] = {"model_state_dict": weights}
    if with_sizes:
        checkpoint |= {"k": k, "n_features": n_features, "d_in": d_in}
    if with_optimizer:
        moments = {i: {"exp_avg": torch.zeros_like(t), "step": 7} for i, t in enumerate(weights.values())}
        checkpoint |= {
            "optimizer_state_dict": {"state": moments, "param_groups": [{"lr": 4e-4, "params": [0, 1, 2]}]},
            "dead_latents": torch.zeros(n_features, dtype=torch.bool),
            "token_count": SEEN_TOKENS,
        }
    file = path / f"{layer}_resid" / f"{SEEN_TOKENS}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, file)
    return file


def save_random_native(
    path: Path,
    *,
    layer: Layer,
    d_in: int,
    n_features: int,
    k: int | None,
    seed: int = 0,
    standardization: Standardization | None = None,
) -> Path:
    """Writes `{path}/{layer}/` in Scopeview's own format and returns it; a ReLU SAE where k is None."""
    architecture: Architecture = "relu" if k is None else "topk"
    config = SaeConfig(architecture, layer, d_in, n_features, k, "none", source="", sha256="")
    sae = Sae(config, Weights(**random_tensors(d_in, n_features, seed)))
    if standardization is not None:
        sae = sae.with_standardization(standardization)
    return native.save(sae, path / str(layer), {"trained_on": "nothing: random weights"})


def save_random_saelens(
    path: Path,
    *,
    layer: int,
    d_in: int,
    n_features: int,
    seed: int = 0,
    config: Mapping[str, object] | None = None,
    instead_of_b_enc: Sequence[str] = ("b_enc",),
) -> Path:
    """Writes `{path}/blocks.{layer}.hook_resid_post/` in SAELens' format and returns it.

    `config` adds to or replaces fields of `cfg.json`, as version 6 writes it (None removes one). Other
    architectures have other tensors than `b_enc` of one number per feature.
    """
    tensors = random_tensors(d_in, n_features, seed)
    random = torch.Generator().manual_seed(seed + 1)
    by_feature = {name: 0.1 * torch.randn(n_features, generator=random) for name in instead_of_b_enc}
    hook_name = f"blocks.{layer}.hook_resid_post"
    folder = path / hook_name
    folder.mkdir(parents=True, exist_ok=True)
    renamed = {"W_enc": tensors["enc"], "W_dec": tensors["dec"], "b_dec": tensors["pre_b"], **by_feature}
    save_file(renamed, folder / "sae_weights.safetensors")
    fields: dict[str, object] = {
        "architecture": "standard",
        "d_in": d_in,
        "d_sae": n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.12.1", "hook_name": hook_name},
    }
    kept = {name: value for name, value in {**fields, **(config or {})}.items() if value is not None}
    (folder / "cfg.json").write_text(json.dumps(kept, indent=2))
    return folder
